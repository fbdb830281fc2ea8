"""Several processes, one model: TorchRec's DistributedModelParallel around the same TwoTower, from outside.

All process-group and DMP code is here. Started by torchrun, each process takes its share of every batch; the item table
is cut by rows, metadata tables go whole to one process each, everything else is replicated. Saved states are whole.
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

ADAGRAD_SCALE = 20.0  # row-wise Adagrad's learning rate over AdamW's: its steps shrink as gradients add up
State = dict[str, Tensor]


@dataclass(frozen=True)
class World:
    """This process among all. sharded: whether the model goes through DMP."""

    rank: int
    size: int
    sharded: bool

    def agreed(self, compute: Callable[[], float]) -> float:
        """The first process computes, all receive the result."""
        if self.size == 1:
            return compute()
        result = [compute() if self.rank == 0 else 0.0]
        dist.broadcast_object_list(result, 0)
        return result[0]


ALONE = World(0, 1, sharded=False)


@contextmanager
def process_group(table_optimizer: str, device: torch.device) -> Iterator[World]:
    """Join the group that torchrun announces. Alone, the row-wise Adagrad runs in a group of one.

    Raises InputError where sharded tables could not use the optimizer: on CPU FBGEMM's fused Adam does not exist.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size > 1 and table_optimizer == "adamw" and device.type == "cpu":
        raise InputError(
            'sharded tables on CPU know no AdamW; set training.table_optimizer = "rowwise_adagrad", '
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
    """Wrap ``model``; its tables are updated by a fused optimizer inside backward(). The weights stay as they were.

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
    logging.getLogger("torchrec").setLevel(logging.ERROR)  # its planner warns of what is not so here
    warnings.filterwarnings("ignore", category=FutureWarning, module="torchrec|torch.distributed")
    whole = {name: value.detach().clone() for name, value in model.state_dict().items()}
    sharders = [EmbeddingCollectionSharder(fused_params=fused), EmbeddingBagCollectionSharder(fused_params=fused)]
    columns = [tower.metadata for tower in model.item_towers] + [tower.metadata for tower in model.user_towers]
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
        init_data_parallel=dense,  # which refuses a model of tables alone
    )  # fmt: skip
    load_whole(wrapped, whole)
    return wrapped


def dense_weights(model: nn.Module) -> dict[str, nn.Parameter]:
    """The trainable weights that an ordinary optimizer updates: all but the sharded tables."""
    from torchrec.optim.optimizers import in_backward_optimizer_filter

    named = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    return dict(in_backward_optimizer_filter(iter(named.items())))


def whole_state(model: nn.Module) -> State:
    """The model's state with every table put together again; on the CPU, the same in all processes."""
    return {name: _gathered(value) for name, value in model.state_dict().items()}


def load_whole(model: nn.Module, state: State) -> None:
    """The inverse: every process takes its part."""
    _scatter(model.state_dict(), state)


def whole_table_optimizer(model: nn.Module) -> State:
    """The fused optimizers' state, put together; empty for a model that is not sharded."""
    return {name: _gathered(value) for name, value in _table_optimizer(model).items()}


def load_table_optimizer(model: nn.Module, state: State) -> None:
    """The inverse."""
    _scatter(_table_optimizer(model), state)


def _table_optimizer(model: nn.Module) -> dict[str, Any]:
    """Names are agreed on by all processes: one that holds no part of a table still takes part in gathering it."""
    if not hasattr(model, "fused_optimizer"):
        return {}
    state = model.fused_optimizer.state_dict()["state"]  # type: ignore[union-attr]  # DMP is untyped
    found = {f"{table}/{key}": value for table, values in state.items() for key, value in values.items()}
    names: list[list[str]] = [[] for _ in range(dist.get_world_size())]
    dist.all_gather_object(names, list(found))
    return {name: found.get(name) for name in sorted({name for part in names for name in part})}


def _gathered(value: Any) -> Tensor:
    """A tensor as it is; a sharded one (or None, where another process holds it all) from all its parts."""
    if isinstance(value, Tensor) and not hasattr(value, "local_shards"):
        return value.detach().cpu().clone()
    local = value.local_shards() if value is not None else []
    parts: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(parts, [(shard.metadata.shard_offsets, shard.tensor.detach().cpu()) for shard in local])
    pieces = sorted((piece for part in parts for piece in part), key=lambda piece: piece[0])
    return torch.cat([tensor for _, tensor in pieces])


@torch.no_grad()
def _scatter(targets: dict[str, Any], state: State) -> None:
    for name, target in targets.items():
        if isinstance(target, Tensor) and not hasattr(target, "local_shards"):
            target.copy_(state[name])
            continue
        for part in target.local_shards() if target is not None else []:
            start = part.metadata.shard_offsets[0]
            part.tensor.copy_(state[name][start : start + len(part.tensor)])
