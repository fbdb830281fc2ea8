"""One shard of the users: group and split its events, then encode them. A shard sees nothing of another.

A code is an id's row among the sorted distinct ids of the log.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from recsys.config import SplitConfig
from recsys.data import (
    CleanLog,
    Int32,
    Int64,
    Jagged,
    SplitCounts,
    UserEvents,
    count_codes,
    group_events,
    read_arrow,
    shard_of,
    take_in_blocks,
    write_arrow,
)

from .split import Mask, Queries, Split, split_events

Part = pl.DataFrame | Path  # a shard's table: in memory if it is the only one, else in a file


@dataclass(frozen=True)
class ShardJob:
    """What the first pass needs to know, the same for every shard.

    Attributes:
        folder: The dataset that is being written.
        split, min_user_events, asks_without_history, held_out_items: How the events are split.
        num_items: The number of distinct items of the log.
    """

    folder: Path
    split: SplitConfig
    min_user_events: int
    asks_without_history: bool
    num_items: int
    held_out_items: Mask | None = None


@dataclass(frozen=True)
class GroupedShard:
    """The result of the first pass over a shard.

    Attributes:
        training: Training histories of item codes, one row per user.
        item_counts: [num_items] int64 training events.
        counts: Its share of the statistics.
    """

    training: Part
    item_counts: Int64
    counts: SplitCounts


def partition_log(log: CleanLog, folder: Path, num_shards: int) -> list[Part]:
    """Partition a log by user: into files in ``folder``, or the log itself if there is one shard."""
    if num_shards == 1:
        return [log.log]
    shards = shard_of(log.user_ids, num_shards).gather(log.log.get_column("user_id"))
    paths = [folder / f"log-{shard:05d}.arrow" for shard in range(num_shards)]
    for shard, path in enumerate(paths):
        write_arrow(log.log.filter(shards == shard), path)
    return list(paths)


def group_shard(job: ShardJob, shard: int, part: Part) -> GroupedShard:
    """First pass over one shard of the log: group, split and count its events, and write its queries."""
    log = _take(part)
    grouped = group_events(log, read_arrow(job.folder / "interim" / "users.arrow").get_column("user_id"))
    split = split_events(
        job.split, grouped, min_user_events=job.min_user_events, asks_without_history=job.asks_without_history,
        held_out_items=job.held_out_items,
    )  # fmt: skip
    with ThreadPoolExecutor(1) as background:
        writing = background.submit(_write_queries, job.folder, shard, grouped, split)
        train = grouped.items.keep(split.train)
        columns = [grouped.user_ids, train.to_series("positions")]
        if "time" in log.columns:
            last = _MarkedEnds.of(grouped.items, np.arange(len(train)), split.train).last
            columns.append(_times(grouped, last, "until"))
        table = pl.DataFrame(columns)
        table = table if train.lengths.all() else table.filter(train.lengths > 0)
        writing.result()
    training: Part = table
    if isinstance(part, Path):
        training = job.folder / "interim" / f"train-{shard:05d}.arrow"
        write_arrow(table, training)
    counts = SplitCounts(
        users=len(grouped.user_ids),
        users_with_few_events=split.num_few,
        training_events=len(train.values),
        validation_queries=len(split.validation.user_rows),
        test_queries=len(split.test.user_rows),
        equal_times=_num_equal_times(grouped),
    )
    return GroupedShard(training, count_codes(train.values, job.num_items), counts)


def encode_shard(folder: Path, embedding_rows: Int32, shard: int, training: Part) -> None:
    """Second pass: write the training histories with item codes replaced by catalogue positions.

    Args:
        folder: The dataset that is being written.
        embedding_rows: [num_items] int32: a row for each item code; items with row 0 are left out.
        shard: The shard's number.
        training: What the first pass returned.
    """
    table = _take(training)
    codes = Jagged.from_series(table.get_column("positions"))
    positions = Jagged(take_in_blocks(embedding_rows, codes.values), codes.offsets)
    positions = positions.keep(positions.values > 0)
    # a user without a training event has no row: train/ must not tell who comes later
    table = table.with_columns(positions.to_series("positions")).filter(positions.lengths > 0)
    write_arrow(table, folder / "train" / f"shard-{shard:05d}.arrow")


def _take(part: Part) -> pl.DataFrame:
    """The table of a part. Its file is deleted; what is mapped can still be read."""
    if isinstance(part, pl.DataFrame):
        return part
    table = read_arrow(part)
    part.unlink()
    return table


def _write_queries(folder: Path, shard: int, grouped: UserEvents, split: Split) -> None:
    for name, queries in (("validation", split.validation), ("test", split.test)):
        columns = [
            grouped.user_ids.gather(queries.user_rows),
            _marked_items(grouped.items, queries, queries.history).to_series("history"),
            _marked_items(grouped.items, queries, queries.targets).to_series("targets"),
        ]
        if "time" in grouped.log.columns:
            targets = _MarkedEnds.of(grouped.items, queries.user_rows, queries.targets)
            columns += [_times(grouped, targets.first, "since"), _times(grouped, targets.last, "until")]
        write_arrow(pl.DataFrame(columns), folder / name / f"shard-{shard:05d}.arrow")


def _marked_items(items: Jagged, queries: Queries, mask: Mask) -> Jagged:
    """The marked items of each query's user. No event of another user is marked, and the users ascend."""
    marked = items.keep(mask)
    return Jagged(marked.values, np.append(marked.offsets[queries.user_rows], len(marked.values)))


@dataclass(frozen=True)
class _MarkedEnds:
    """The first and the last marked event of each user: [num_users] int64 rows of the log, -1 if none is marked.

    Such an event has an unmarked neighbour, or is itself the first or last event of its user. These candidates are few.
    Searching only among them saves a list of all marked rows, which would be eight times the size of the mask.
    """

    first: Int64
    last: Int64

    @staticmethod
    def of(items: Jagged, users: Int64, mask: Mask) -> "_MarkedEnds":
        """users: rows of ``items``."""
        starts, ends = items.offsets[users], items.offsets[users + 1]
        is_candidate = mask.copy()
        is_candidate[1:-1] &= ~(mask[:-2] & mask[2:])
        is_candidate[starts], is_candidate[ends - 1] = mask[starts], mask[ends - 1]
        candidates = np.append(np.flatnonzero(is_candidate), -1)
        first, end = np.searchsorted(candidates[:-1], starts), np.searchsorted(candidates[:-1], ends)
        is_marked = first < end
        return _MarkedEnds(np.where(is_marked, candidates[first], -1), np.where(is_marked, candidates[end - 1], -1))


def _times(grouped: UserEvents, rows: Int64, name: str) -> pl.Series:
    """The times of rows of the log, null for row -1."""
    return grouped.log.get_column("time").gather(pl.Series(rows).replace(-1, None)).alias(name)


def _num_equal_times(grouped: UserEvents) -> int:
    """Events at the same time as the user's previous one, which the order of the log decides."""
    if "time" not in grouped.log.columns:
        return 0
    times = grouped.log.get_column("time")
    is_same = (times.head(-1) == times.slice(1)).to_numpy()
    return int((is_same & grouped.items.continues[1:]).sum())
