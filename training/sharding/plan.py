"""Which part of which table each process holds, chosen by TorchRec's planner so that everything fits.

The planner alone would count weights and communication only. Here it is also told of the optimizer's state and the
running average of every row, of the memory that is really free, and of what the rest of the training needs.
"""

import gc
import logging
import os
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from recsys.errors import InputError
from recsys.model import TwoTower

from ..memory import WORKING, available
from .processes import World

ADAGRAD_SCALE = 20.0  # row-wise Adagrad's learning rate relative to AdamW's: its steps shrink as gradients add up
MARGIN = 0.1  # the share of memory that stays free: allocators need some
DENSE_COPIES = 6  # of what is not divided: weights, gradients, their bucket, two moments and the average
CACHED = 0.2  # the share of a table in main memory that FBGEMM caches on the GPU
FLOAT32 = 4  # bytes
GIB = 1 << 30


@dataclass(frozen=True)
class TableOptimizer:
    """What is kept for every row of a sharded table, and how the row is stepped.

    name: ``training.table_optimizer``. averaged: whether there is a running average, which must lie beside the weights.
    """

    name: str
    learning_rate: float
    weight_decay: float
    averaged: bool

    @property
    def is_adagrad(self) -> bool:
        """Whether there is one number for each row, rather than two for each weight."""
        return self.name == "rowwise_adagrad"

    def state_bytes(self, num_rows: int, dim: int) -> int:
        """Of the optimizer's own numbers."""
        return num_rows * FLOAT32 * (1 if self.is_adagrad else 2 * dim)

    def average_bytes(self, num_rows: int, dim: int) -> int:
        """Of the running average, and of the step in which each row was last averaged."""
        return num_rows * FLOAT32 * (dim + 1) if self.averaged else 0

    def fused_settings(self) -> dict[str, object]:
        """FBGEMM's settings. Its Adam decays weights apart from the gradient, as AdamW does, but only in rows that a
        step reads: other rows keep their weights and moments.
        """
        from fbgemm_gpu.split_embedding_configs import EmbOptimType

        if self.is_adagrad:
            return {
                "optimizer": EmbOptimType.EXACT_ROWWISE_ADAGRAD,
                "learning_rate": self.learning_rate * ADAGRAD_SCALE,
                "eps": 1e-8,
            }
        return {
            "optimizer": EmbOptimType.ADAM,
            "learning_rate": self.learning_rate,
            "eps": 1e-8,
            "weight_decay": self.weight_decay,
        }


@dataclass(frozen=True)
class Processes:
    """What tables can be divided among.

    size: of the training. local_size: on each machine. device: "cpu" or "cuda". memory: bytes that each process may use
    on its device. host_memory: of main memory likewise, which counts on GPUs only.
    """

    size: int
    local_size: int
    device: str
    memory: int
    host_memory: int

    @staticmethod
    def of(world: World, device: torch.device, limit: float | None) -> "Processes":
        """The real ones. limit: the most GiB that each may use, if less than its share of what is free.

        All processes must call it: the one with the least memory decides. What an earlier model held is released
        first. Otherwise, tables that fit only once would seem not to fit in a refit.
        """
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()
        local_size = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        host = available(torch.device("cpu")) // local_size
        free = available(device) if device.type == "cuda" else host
        if limit is not None:
            free = min(free, int(limit * GIB))
        least = [min(values) for values in zip(*world.gather((free, host)), strict=True)]
        return Processes(world.size, local_size, device.type, *least)

    def for_tables(self, model: nn.Module) -> int:
        """Bytes of a device that are left for tables and what belongs to them."""
        dense = sum(weight.nbytes for weight in model.parameters() if not weight.is_meta)
        return max(0, int(self.memory * (1 - MARGIN)) - WORKING - DENSE_COPIES * dense)


@dataclass(frozen=True)
class Share:
    """What a plan gives to one process, in bytes.

    host: how much of it is kept in main memory. cache: what a GPU holds a second time, of weights in main memory.
    """

    shards: int
    weights: int
    optimizer: int
    average: int
    host: int
    cache: int

    @property
    def device(self) -> int:
        """Bytes on the device."""
        return self.weights + self.optimizer + self.average - self.host + self.cache


class StateEstimator:
    """Adds to the planner's estimates what it leaves out: the optimizer's state and the running average."""

    def __init__(self, optimizer: TableOptimizer, device: str) -> None:
        self._optimizer, self._device = optimizer, device

    def estimate(self, sharding_options: list[Any], *_: object, **__: object) -> None:
        """Called by the planner, after its own estimators."""
        from torchrec.distributed.planner.types import Storage

        for option in sharding_options:
            for shard in option.shards:
                state = self._optimizer.state_bytes(*shard.size)
                average = self._optimizer.average_bytes(*shard.size)
                in_host = 0 if option.compute_kernel == "fused" or self._optimizer.is_adagrad else state
                if self._device == "cpu":
                    shard.storage += Storage(hbm=0, ddr=state + average)
                else:
                    shard.storage += Storage(hbm=state + average - in_host, ddr=in_host)


def make_plan(model: TwoTower, optimizer: TableOptimizer, processes: Processes, lookups: int) -> Any:
    """TorchRec's sharding plan for a model whose tables are on the meta device.

    A table is divided by rows or columns, or given to one process as a whole: whatever is fastest and fits. By columns
    only with AdamW, since the row-wise Adagrad would step each part of a row by its own length. On GPUs without a
    running average a table may also stay in main memory, behind a cache.

    Args:
        model: The model.
        optimizer: Of the tables.
        processes: Among which they are divided. They may be imaginary: nothing is allocated.
        lookups: Rows of a table that one process reads in a step.

    Raises:
        InputError: If no plan fits.
    """
    from torchrec.distributed.planner import EmbeddingShardingPlanner, Topology
    from torchrec.distributed.planner.constants import DEFAULT_PERF_ESTIMATOR
    from torchrec.distributed.planner.enumerators import EmbeddingEnumerator
    from torchrec.distributed.planner.estimator import EmbeddingPerfEstimatorFactory
    from torchrec.distributed.planner.shard_estimators import EmbeddingStorageEstimator
    from torchrec.distributed.planner.storage_reservations import FixedPercentageStorageReservation
    from torchrec.distributed.planner.types import PlannerError

    logging.getLogger("torchrec").setLevel(logging.ERROR)  # its planner warns of problems that do not exist here
    on_gpu = processes.device == "cuda"
    room = processes.for_tables(model)
    topology = Topology(
        world_size=processes.size, compute_device=processes.device, local_world_size=processes.local_size,
        hbm_cap=room if on_gpu else None, ddr_cap=int(processes.host_memory * (1 - MARGIN)) if on_gpu else room,
    )  # fmt: skip
    constraints = _constraints(model, optimizer, processes.device)
    estimators = [
        EmbeddingPerfEstimatorFactory.create(DEFAULT_PERF_ESTIMATOR, topology=topology, constraints=constraints),
        EmbeddingStorageEstimator(topology=topology, constraints=constraints),
        StateEstimator(optimizer, processes.device),
    ]
    planner = EmbeddingShardingPlanner(
        topology=topology, batch_size=lookups, constraints=constraints,
        enumerator=EmbeddingEnumerator(topology, lookups, constraints, estimators),
        storage_reservation=FixedPercentageStorageReservation(0.0),  # for_tables has reserved already
    )  # fmt: skip
    try:
        return planner.plan(model, sharders(optimizer))
    except PlannerError as error:
        raise InputError(_too_large(model, optimizer, processes, room)) from error


def sharders(optimizer: TableOptimizer) -> list[Any]:
    """What divides the tables of each kind of collection."""
    from torchrec.distributed.embedding import EmbeddingCollectionSharder
    from torchrec.distributed.embeddingbag import EmbeddingBagCollectionSharder

    settings = optimizer.fused_settings()
    return [EmbeddingCollectionSharder(fused_params=settings), EmbeddingBagCollectionSharder(fused_params=settings)]


def shares(plan: Any, optimizer: TableOptimizer, size: int) -> list[Share]:
    """What a plan gives to each of ``size`` processes."""
    totals = [[0] * 6 for _ in range(size)]
    for module in plan.plan.values():
        for table in module.values():
            for shard in table.sharding_spec.shards:
                num_rows, dim = shard.shard_sizes
                state, average = optimizer.state_bytes(num_rows, dim), optimizer.average_bytes(num_rows, dim)
                weights = num_rows * dim * FLOAT32
                host = cache = 0
                if table.compute_kernel != "fused":
                    host = weights + (0 if optimizer.is_adagrad else state)
                    cache = int(CACHED * weights)
                added = (1, weights, state, average, host, cache)
                rank = shard.placement.rank()
                totals[rank] = [total + part for total, part in zip(totals[rank], added, strict=True)]
    return [Share(*total) for total in totals]


def _constraints(model: TwoTower, optimizer: TableOptimizer, device: str) -> dict[str, Any]:
    from torchrec.distributed.planner import ParameterConstraints

    kinds = ["table_wise", "row_wise"] + ([] if optimizer.is_adagrad else ["column_wise"])
    kernels = ["fused"] + (["fused_uvm_caching"] if device == "cuda" and not optimizer.averaged else [])
    return {name: ParameterConstraints(kinds, kernels) for name in _tables(model)}


def _tables(model: TwoTower) -> dict[str, nn.Parameter]:
    """The weights of the tables that can be divided, by the tables' names."""
    return {name.split(".")[-2]: weight for name, weight in model.named_parameters() if weight.is_meta}


def _too_large(model: TwoTower, optimizer: TableOptimizer, processes: Processes, room: int) -> str:
    shapes = [weight.shape for weight in _tables(model).values()]
    weights = sum(rows * dim * FLOAT32 for rows, dim in shapes)
    state = sum(optimizer.state_bytes(rows, dim) for rows, dim in shapes)
    average = sum(optimizer.average_bytes(rows, dim) for rows, dim in shapes)
    remedies = ["train in more processes", "lower model.num_members or model.embedding_dim"]
    remedies += [] if optimizer.is_adagrad else ['set training.table_optimizer = "rowwise_adagrad"']
    if optimizer.averaged:
        uses = " and lets tables overflow into main memory" if processes.device == "cuda" else ""
        remedies += [f"set training.average_decay = 0, which saves the average{uses}"]
    return (
        f"the embedding tables need {(weights + state + average) / GIB:.1f} GiB (weights {weights / GIB:.1f}, "
        f"optimizer {state / GIB:.1f}, running average {average / GIB:.1f}), and cannot be divided among "
        f"{processes.size} process(es) with {room / GIB:.1f} GiB each for tables, of {processes.memory / GIB:.1f} GiB "
        f"on {processes.device}; {', '.join(remedies[:-1])}, or {remedies[-1]}"
    )
