"""A log partitioned by user while it is read, so that none of it but a shard is ever in memory."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl

from recsys.data import crc32_of_ids, input_error_if_unreadable, write_arrow

# a shard's rows as they are in the log: still to be read if it is the only one, else files, one after the other
Rows = pl.LazyFrame | tuple[Path, ...]


@dataclass(frozen=True)
class OpenLog:
    """A log of the user, opened.

    Attributes:
        events: Its rows, under our names.
        num_rows: How many it announces.
        is_sliceable: Whether some of its rows can be read without those before them.
    """

    events: pl.LazyFrame
    num_rows: int
    is_sliceable: bool


def partition_rows(log: OpenLog, folder: Path, num_shards: int) -> list[Rows]:
    """Send the rows of every user to one shard, in the order of the log.

    Args:
        log: It is read once, in blocks.
        folder: Gets a file for each shard, unless there is one shard alone.
        num_shards: How many there are. A row without a user is in any of them.
    """
    return [log.events] if num_shards == 1 else [(path,) for path in write_shards(log.events, folder, num_shards)]


def write_shards(log: pl.LazyFrame, folder: Path, num_shards: int) -> list[Path]:
    """``partition_rows`` that writes a file for each shard, also where there is one alone."""
    paths = [folder / f"rows-{shard:05d}.arrow" for shard in range(num_shards)]
    shard = pl.col("user_id").map_batches(
        partial(_shards_of, num_shards), return_dtype=pl.UInt32, is_elementwise=True
    )  # fmt: skip
    by_shard = pl.PartitionBy(
        folder, key=shard.alias("shard"), include_key=False, approximate_bytes_per_file=None,
        file_path_provider=lambda file: paths[file.partition_keys.item()].name,
    )  # fmt: skip
    with input_error_if_unreadable("the events"):
        log.sink_ipc(by_shard, compression="lz4", mkdir=True, engine="streaming")
    for path in paths:
        if not path.exists():
            write_arrow(log.collect_schema().to_frame(), path)
    return paths


def _shards_of(num_shards: int, user_ids: pl.Series) -> pl.Series:
    return pl.Series(crc32_of_ids(user_ids) % np.uint32(num_shards))


Partition = Callable[[OpenLog, Path, int], list[Rows]]  # partition_rows, or what does the same elsewhere


def read_rows(rows: Rows) -> pl.LazyFrame:
    """The rows of a shard."""
    return rows if isinstance(rows, pl.LazyFrame) else pl.scan_ipc(list(rows), glob=False)


def count_rows(*shards: Rows) -> int:
    """How many rows some shards have, as their files say."""
    with input_error_if_unreadable("the events"):
        return sum(read_rows(rows).select(pl.len()).collect().item() for rows in shards)
