"""The feature job on a Ray cluster: the same functions of shards, as tasks over files.

Only ``--engine ray`` imports this module.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from recsys.config import Config
from recsys.data import Dataset
from recsys.partial_files import discard_partial
from recsys.ray_cluster import Map, connected, task_map

from .build import build
from .engine import Engine
from .partition import OpenLog, Rows, write_shards

ROWS_AT_ONCE = 4_000_000  # of the log, which one task sends to their shards


def build_on_ray(config: Config, out: Path, address: str | None) -> Dataset:
    """``build`` on a cluster. address: see ``connected``."""
    with connected(address):
        return build(config, out, engine=_engine)


@contextmanager
def _engine(folder: Path) -> Iterator[Engine]:
    with task_map(folder) as on_cluster:
        yield Engine(partial(_partition, on_cluster), lambda inputs: nullcontext(on_cluster))
    discard_partial(folder)


def _partition(on_cluster: Map, log: OpenLog, folder: Path, num_shards: int) -> list[Rows]:
    """``partition_rows`` whose tasks each read some rows. What must be read from its start is read here."""
    rows_at_once = ROWS_AT_ONCE if log.is_sliceable else max(1, log.num_rows)
    run = on_cluster if log.is_sliceable else map
    write = partial(_write_rows, log.events, folder, num_shards, rows_at_once)
    written = list(run(write, range(0, max(1, log.num_rows), rows_at_once)))
    return [tuple(part) for part in zip(*written, strict=True)]


def _write_rows(log: pl.LazyFrame, folder: Path, num_shards: int, rows_at_once: int, start: int) -> list[Path]:
    """Write the shards of some rows of a log."""
    folder.mkdir(exist_ok=True, parents=True)
    with TemporaryDirectory(prefix=".", suffix=".partial", dir=folder) as temporary:
        paths = write_shards(log.slice(start, rows_at_once), Path(temporary), num_shards)
        return [path.rename(folder / f"{start:012d}-{path.name}") for path in paths]
