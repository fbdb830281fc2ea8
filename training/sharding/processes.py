"""The processes of a training. torchrun starts them, and each takes its share of the batches and of the tables."""

import gc
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from recsys.errors import InputError

TIMEOUT = timedelta(hours=1)  # how long processes wait for one another: the first one alone writes the final weights
WARNINGS = (
    "Please use DTensor",  # TorchRec does not yet
    "`broadcast_buffers` is deprecated",  # nor has it left this
    "torch.distributed is disabled",  # of a process that reads only its own part of a checkpoint
)
State = dict[str, Tensor]  # by name

Value = TypeVar("Value")


@dataclass(frozen=True)
class World:
    """This process among all of a training. sharded: whether the tables are divided among the processes."""

    rank: int
    size: int
    sharded: bool

    def broadcast(self, compute: Callable[[], Value]) -> Value:
        """Compute a value in the first process only, and return it in all; its InputError is raised in all, too."""
        if self.size == 1:
            return compute()
        result: list[Any] = [None, None]
        if self.rank == 0:
            try:
                result[0] = compute()
            except InputError as error:
                result[1] = error
        dist.broadcast_object_list(result, 0)
        if result[1] is not None:
            raise result[1]
        value: Value = result[0]
        return value

    def gather(self, value: Value) -> list[Value]:
        """The values of all processes, in all. None returns before all have called it."""
        if self.size == 1:
            return [value]
        values: list[Value] = [value] * self.size
        dist.all_gather_object(values, value)
        return values


ALONE = World(0, 1, sharded=False)


@contextmanager
def process_group(table_optimizer: str, device: torch.device) -> Iterator[World]:
    """Join the process group that torchrun announces in the environment.

    A single process needs none, unless its table optimizer is the row-wise Adagrad, which exists for sharded tables
    only: it then forms a group of one. On GPUs, tensors travel through nccl, and everything else through gloo.

    Args:
        table_optimizer: ``training.table_optimizer``.
        device: This process's own, see ``choose_device``.

    Raises:
        InputError: For AdamW in several processes on the CPU, for which FBGEMM has no fused version.
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
    settings: dict[str, object] = {"backend": "gloo", "timeout": TIMEOUT}
    if device.type == "cuda":
        own = torch.device("cuda", device.index or 0)
        torch.cuda.set_device(own)
        settings |= {"backend": "cpu:gloo,cuda:nccl", "device_id": own}
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        for message in WARNINGS:
            warnings.filterwarnings("ignore", message)
        if size == 1:
            settings |= {"init_method": f"file://{folder}/store", "rank": 0, "world_size": 1}
        dist.init_process_group(**settings)  # type: ignore[arg-type]  # keywords of mixed types
        try:
            yield World(dist.get_rank(), size, sharded=True)
        finally:
            # a sharded model refers to itself and to the group, whose threads abort the process if they outlive Python
            gc.collect()
            dist.destroy_process_group()
