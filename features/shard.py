"""One shard of the users: group and split its events, then encode them. A shard sees nothing of another.

What a shard is made of stays until its result is taken, so that an attempt that was lost can be repeated.

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
    lookup_rows,
    read_arrow,
    take_in_blocks,
    write_arrow,
)

from .log import CleanPart, open_part
from .split import Mask, Queries, Split, split_events
from .windows import TRAINING, Cuts, assign_windows

Part = pl.DataFrame | Path  # a shard's table: in memory if it is the only one, else in a file


@dataclass(frozen=True)
class ShardJob:
    """What the first pass needs to know, the same for every shard.

    Attributes:
        folder: The dataset that is being written.
        split, min_user_events, asks_without_history, held_out_items: How the events are split.
        num_items: The number of distinct items of the log.
        needs_users: Whether anything is to be known of its users one by one.
        cuts: Between the windows of a temporal split.
    """

    folder: Path
    split: SplitConfig
    min_user_events: int
    asks_without_history: bool
    num_items: int
    needs_users: bool
    cuts: Cuts | None = None
    held_out_items: Mask | None = None


@dataclass(frozen=True)
class GroupedShard:
    """The result of the first pass over a shard.

    Attributes:
        training: Training histories of item codes, one row per user.
        users: user_id, and whether the user has an event in the training window (in_training); of no user unless the
            job needs them.
        item_counts: [num_items] int64 training events.
        counts: Its share of the statistics.
    """

    training: Part
    users: Part
    item_counts: Int64
    counts: SplitCounts


def group_shard(job: ShardJob, shard: int, part: CleanPart) -> GroupedShard:
    """First pass over one shard of the log: group, split and count its events, and write its queries."""
    cleaned = open_part(part)
    log = cleaned.log if job.cuts is None else assign_windows(job.cuts, cleaned.log)
    if isinstance(part, Path):
        log = _with_codes_of_all(log, cleaned.item_ids, job.folder)
    grouped = group_events(log, cleaned.user_ids)
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
    in_training = grouped.items.count(log.get_column("window").to_numpy() == TRAINING) > 0
    users = pl.DataFrame([grouped.user_ids, pl.Series("in_training", in_training)])
    users = users if job.needs_users else users.head(0)
    counts = SplitCounts(
        users=len(grouped.user_ids),
        users_with_few_events=split.num_few,
        training_events=len(train.values),
        validation_queries=len(split.validation.user_rows),
        test_queries=len(split.test.user_rows),
        equal_times=_num_equal_times(grouped),
    )
    return GroupedShard(
        training=_keep(table, job.folder, f"train-{shard:05d}", is_only=isinstance(part, CleanLog)),
        users=_keep(users, job.folder, f"users-{shard:05d}", is_only=isinstance(part, CleanLog)),
        item_counts=count_codes(train.values, job.num_items),
        counts=counts,
    )


def _with_codes_of_all(log: pl.DataFrame, item_ids: pl.Series, folder: Path) -> pl.DataFrame:
    """A log whose item codes are rows among the ids of all shards, rather than of this one (``item_ids``)."""
    codes = lookup_rows(item_ids, read_arrow(folder / "catalogue" / "logged.arrow").get_column("item_id"))
    return log.with_columns(item_id=pl.Series(take_in_blocks(codes, log.get_column("item_id").to_numpy())))


def _keep(table: pl.DataFrame, folder: Path, name: str, *, is_only: bool) -> Part:
    """Keep a table for later, in a file unless it is the only one."""
    if is_only:
        return table
    path = folder / "interim" / f"{name}.arrow"
    write_arrow(table, path)
    return path


def encode_shard(folder: Path, embedding_rows: Int32, shard: int, training: Part) -> None:
    """Second pass: write the training histories with item codes replaced by catalogue positions.

    Args:
        folder: The dataset that is being written.
        embedding_rows: [num_items] int32: a row for each item code; items with row 0 are left out.
        shard: The shard's number.
        training: What the first pass returned.
    """
    table = open_table(training)
    codes = Jagged.from_series(table.get_column("positions"))
    positions = Jagged(take_in_blocks(embedding_rows, codes.values), codes.offsets)
    positions = positions.keep(positions.values > 0)
    # a user without a training event has no row: train/ must not tell who comes later
    table = table.with_columns(positions.to_series("positions")).filter(positions.lengths > 0)
    write_arrow(table, folder / "train" / f"shard-{shard:05d}.arrow")


def open_table(part: Part) -> pl.DataFrame:
    """The table of a part."""
    return part if isinstance(part, pl.DataFrame) else read_arrow(part)


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
