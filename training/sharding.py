"""Training in several processes: TorchRec's DistributedModelParallel (DMP) around an unchanged TwoTower.

All code about process groups and DMP is here. torchrun starts the processes, and each takes its share of the batches.
The item table is sharded by rows, each metadata table lives in one process, and everything else is replicated. A
gathered state is whole, so what is saved does not depend on the number of processes.
"""

import logging
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from recsys.errors import InputError
from recsys.model import TwoTower

ADAGRAD_SCALE = 20.0  # row-wise Adagrad's learning rate relative to AdamW's: its steps shrink as gradients add up
State = dict[str, Tensor]  # by name, on the CPU, the same in all processes


@dataclass(frozen=True)
class World:
    """This process among all of a training. sharded: whether DMP wraps the model."""

    rank: int
    size: int
    sharded: bool

    def broadcast(self, compute: Callable[[], float]) -> float:
        """Compute a number in the first process only, and return it in all."""
        if self.size == 1:
            return compute()
        result = [compute() if self.rank == 0 else 0.0]
        dist.broadcast_object_list(result, 0)
        return result[0]


ALONE = World(0, 1, sharded=False)


@contextmanager
def process_group(table_optimizer: str, device: torch.device) -> Iterator[World]:
    """Join the process group that torchrun announces in the environment.

    A single process needs none, unless its table optimizer is the row-wise Adagrad, which exists for sharded tables
    only: it then forms a group of one. Raises InputError for AdamW in several processes on the CPU, for which FBGEMM
    has no fused version.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size > 1 and table_optimizer == "adamw" and device.type == "cpu":
        raise InputError(
            'AdamW cannot train sharded tables on the CPU; set training.table_optimizer = "rowwise_adagrad", '
            "or train in one process"
        )
    if size == 1 and table_optimizer == "adamw":
        yield ALONE
        return
    backend = "nccl" if device.type == "cuda" else "gloo"
    with tempfile.TemporaryDirectory() as folder:
        alone = {"init_method": f"file://{folder}/store", "rank": 0, "world_size": 1} if size == 1 else {}
        dist.init_process_group(backend, **alone)  # type: ignore[arg-type]  # keywords of mixed types
        try:
            yield World(dist.get_rank(), size, sharded=True)
        finally:
            dist.destroy_process_group()


def shard(model: TwoTower, table_optimizer: str, learning_rate: float, device: torch.device) -> nn.Module:
    """Wrap ``model`` in DMP, with the same weights. A fused optimizer updates its tables inside backward().

    Raises TypeError for a model with plain tables, which TorchRec cannot shard.
    """
    if not model.torchrec:
        raise TypeError("only a model with TorchRec's tables can be sharded; build it as TwoTower(spec, torchrec=True)")
    from fbgemm_gpu.split_embedding_configs import EmbOptimType
    from torchrec.distributed import DistributedModelParallel
    from torchrec.distributed.embedding import EmbeddingCollectionSharder
    from torchrec.distributed.embeddingbag import EmbeddingBagCollectionSharder
    from torchrec.distributed.planner import EmbeddingShardingPlanner, ParameterConstraints, Topology

    adagrad = table_optimizer == "rowwise_adagrad"
    fused = {
        "optimizer": EmbOptimType.EXACT_ROWWISE_ADAGRAD if adagrad else EmbOptimType.ADAM,
        "learning_rate": learning_rate * (ADAGRAD_SCALE if adagrad else 1.0),
        "eps": 1e-8,
    }
    logging.getLogger("torchrec").setLevel(logging.ERROR)  # its planner warns of problems that do not exist here
    warnings.filterwarnings("ignore", category=FutureWarning, module="torchrec|torch.distributed")
    whole = {name: value.detach().clone() for name, value in model.state_dict().items()}
    sharders = [EmbeddingCollectionSharder(fused_params=fused), EmbeddingBagCollectionSharder(fused_params=fused)]
    columns = (model.item_tower.metadata, model.user_tower.metadata)
    bags = {name for metadata in columns if metadata.tables for name in metadata.tables.embedding_bags}
    constraints = {name: ParameterConstraints(["table_wise"], ["fused"]) for name in bags}
    constraints["item"] = ParameterConstraints(["row_wise"], ["fused"])
    topology = Topology(world_size=dist.get_world_size(), compute_device=device.type)
    planner = EmbeddingShardingPlanner(topology=topology, constraints=constraints)
    plan = planner.collective_plan(model, sharders, dist.GroupMember.WORLD)
    tables = ("ids.", "metadata.tables.")
    dense = any(weight.requires_grad for name, weight in model.named_parameters() if not any(t in name for t in tables))
    wrapped: nn.Module = DistributedModelParallel(
        model, device=device, plan=plan, sharders=sharders,
        init_data_parallel=dense,  # which fails for a model that is nothing but tables
    )  # fmt: skip
    scatter_state(wrapped, whole)
    return wrapped


def dense_weights(model: nn.Module) -> dict[str, nn.Parameter]:
    """The trainable weights that an ordinary optimizer updates: all but sharded tables."""
    from torchrec.optim.optimizers import in_backward_optimizer_filter

    named = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    return dict(in_backward_optimizer_filter(iter(named.items())))


def gather_state(model: nn.Module) -> State:
    """The model's whole state, with every table put together from its shards. All processes must take part."""
    return {name: _gathered(value) for name, value in model.state_dict().items()}


def scatter_state(model: nn.Module, state: State) -> None:
    """The inverse of ``gather_state``: every process takes its part."""
    _scatter(model.state_dict(), state)


def gather_table_optimizer(model: nn.Module) -> State:
    """The whole state of the fused optimizers; empty for a model that is not sharded."""
    return {name: _gathered(value) for name, value in _table_optimizer(model).items()}


def scatter_table_optimizer(model: nn.Module, state: State) -> None:
    """The inverse of ``gather_table_optimizer``."""
    _scatter(_table_optimizer(model), state)


def _table_optimizer(model: nn.Module) -> dict[str, Any]:
    """This process's part of the fused optimizers' state.

    It has the same names in all processes, with None for a table of which this one holds nothing: gathering a table
    needs every process.
    """
    if not hasattr(model, "fused_optimizer"):
        return {}
    state = model.fused_optimizer.state_dict()["state"]  # type: ignore[union-attr]  # DMP is untyped
    local = {f"{table}/{key}": value for table, values in state.items() for key, value in values.items()}
    names: list[list[str]] = [[] for _ in range(dist.get_world_size())]
    dist.all_gather_object(names, list(local))
    return {name: local.get(name) for name in sorted({name for part in names for name in part})}


def _gathered(value: Any) -> Tensor:
    """A copy of a plain tensor; of a sharded one (or None, if other processes hold all of it), the whole of it."""
    if isinstance(value, Tensor) and not hasattr(value, "local_shards"):
        return value.detach().cpu().clone()
    local = value.local_shards() if value is not None else []
    parts: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(parts, [(shard.metadata.shard_offsets, shard.tensor.detach().cpu()) for shard in local])
    pieces = sorted((piece for part in parts for piece in part), key=lambda piece: piece[0])
    return torch.cat([tensor for _, tensor in pieces])


@torch.no_grad()
def _scatter(targets: dict[str, Any], state: State) -> None:
    """Copy the state into plain tensors, and into sharded ones the rows that this process holds."""
    for name, target in targets.items():
        if isinstance(target, Tensor) and not hasattr(target, "local_shards"):
            target.copy_(state[name])
            continue
        for local in target.local_shards() if target is not None else []:
            start = local.metadata.shard_offsets[0]
            local.tensor.copy_(state[name][start : start + len(local.tensor)])
