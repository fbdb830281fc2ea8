"""What runs the functions of shards: this process, several, or a cluster (on_ray.py)."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .inputs import Inputs
from .partition import Partition, partition_rows
from .workers import process_map

Map = Callable[..., Iterable[Any]]  # of a function over the arguments of every call; results are in the order of calls


@dataclass(frozen=True)
class Engine:
    """A way to run them.

    Attributes:
        partition: Sends the rows of a log to the shards.
        shard_map: The map that runs the functions of the shards of some inputs.
    """

    partition: Partition
    shard_map: Callable[[Inputs], AbstractContextManager[Map]]


OpenEngine = Callable[[Path], AbstractContextManager[Engine]]  # takes the folder in which everything is written


def in_processes(workers: int) -> OpenEngine:
    """This machine, with at most so many processes."""

    @contextmanager
    def engine(folder: Path) -> Iterator[Engine]:
        yield Engine(partition_rows, lambda inputs: process_map(inputs.workers(workers)))

    return engine
