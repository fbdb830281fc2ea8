"""The log of a dataset, cleaned shard by shard, and what all shards together say."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from operator import add
from pathlib import Path

import polars as pl

from recsys.config import SplitConfig
from recsys.data import (
    CleanLog,
    Int32,
    LogCounts,
    cast_ids,
    clean_rows,
    factorize_ids,
    read_arrow,
    require_sound_log,
    sort_events,
    widen,
    write_arrow,
)
from recsys.errors import InputError

from .inputs import Inputs
from .partition import Rows, read_rows
from .windows import TEST, TRAINING, Cuts, UserClock, find_cuts

CleanPart = CleanLog | Path  # a shard's log: in memory if it is the only one, else in a folder


@dataclass(frozen=True)
class CleanShard:
    """What cleaning left of a shard.

    Attributes:
        log: Its log, whose codes are rows among its own ids. In a split that is not temporal it has its ``window``; the
            test file of a "given" split follows the events, in window TEST.
        counts, test_counts: What happened to how many rows of the events, and of that test file.
        ends: The earliest and the latest time of the events, as far as there are any; None without times.
        clock: How its users' times lie, for a temporal split.
    """

    log: CleanPart
    counts: LogCounts
    test_counts: LogCounts | None
    ends: pl.Series | None
    clock: UserClock | None


@dataclass(frozen=True)
class Log:
    """The log of all shards.

    Attributes:
        parts: One for each shard.
        item_ids: Distinct and sorted.
        quarantine: The rejected rows of each shard, with a ``reason``.
        counts, test_counts: What happened to how many rows.
        cuts: Between the windows of a temporal split.
    """

    parts: list[CleanPart]
    item_ids: pl.Series
    quarantine: list[pl.DataFrame]
    counts: LogCounts
    test_counts: LogCounts | None
    cuts: Cuts | None

    @property
    def num_events(self) -> int:
        """Of the log and the test file."""
        return self.counts.events + (self.test_counts.events if self.test_counts else 0)

    def scan(self) -> pl.LazyFrame:
        """The columns of all parts, whose codes are each part's own."""
        return _scan(self.parts)


def clean_shard(
    split: SplitConfig, num_rows: int, folder: Path, shard: int, rows: Rows, test_rows: Rows | None
) -> CleanShard:
    """Clean the rows of a shard.

    Args:
        split: Its kind decides what is made ready.
        num_rows: Of the events of all shards, which those of a test file follow.
        folder: Gets the log, if it is not the only one.
        shard: Its number.
        rows, test_rows: Of the events, and of the test file of a "given" split.
    """
    log, test_counts, clock = clean_rows(read_rows(rows)), None, None
    counts, ends = log.counts, _ends(log.log)
    if split.kind == "temporal":
        clock = UserClock.of(log.log)
    else:
        log = _with_window(log, TRAINING)
    if test_rows is not None:
        test = _with_window(clean_rows(read_rows(test_rows)), TEST)
        log, test_counts = _append(log, test, num_rows), test.counts
    part: CleanPart = log
    if not isinstance(rows, pl.LazyFrame):
        part = folder / f"clean-{shard:05d}"
        _write(log, part)
    return CleanShard(part, counts, test_counts, ends, clock)


def unite_shards(split: SplitConfig, inputs: Inputs, shards: Sequence[CleanShard]) -> Log:
    """Put together what the shards say.

    Raises:
        InputError: No event is left, other rows were read than there were, the times are no clock, or the split's cuts
            do not fit them.
    """
    parts = [shard.log for shard in shards]
    counts = _total([shard.counts for shard in shards], inputs.num_rows, "events")
    of_shards = [shard.ends for shard in shards if shard.ends is not None]
    ends = pl.concat(of_shards) if of_shards else None
    require_sound_log(counts, _scan(parts), ends)
    test_counts = None
    if inputs.test is not None:
        of_tests = [shard.test_counts for shard in shards if shard.test_counts is not None]
        test_counts = _total(of_tests, inputs.num_test_rows, "test")
        require_sound_log(test_counts, _scan(parts).filter(pl.col("window") == TEST))
    clocks = [shard.clock for shard in shards if shard.clock is not None]
    cuts = find_cuts(split, partial(_times, parts), ends, clocks)
    return Log(parts, _item_ids(parts), [*map(_quarantine, parts)], counts, test_counts, cuts)


def open_part(part: CleanPart) -> CleanLog:
    """The log of a shard."""
    if isinstance(part, CleanLog):
        return part
    log, user_ids, item_ids = (read_arrow(part / f"{name}.arrow") for name in ("log", "users", "items"))
    counts = LogCounts(rows=log.height, events=log.height)
    return CleanLog(log, user_ids.get_column("user_id"), item_ids.get_column("item_id"), pl.DataFrame(), counts)


def _write(log: CleanLog, folder: Path) -> None:
    folder.mkdir(exist_ok=True)  # an attempt before this one may have been lost
    write_arrow(log.log, folder / "log.arrow")
    write_arrow(_in_one_buffer(log.user_ids).to_frame(), folder / "users.arrow")
    write_arrow(log.item_ids.to_frame(), folder / "items.arrow")
    write_arrow(log.quarantine, folder / "quarantine.arrow")


def _in_one_buffer(ids: pl.Series) -> pl.Series:
    """Ids whose bytes lie one after the other: otherwise files would depend on the blocks in which a log was read."""
    return pl.Series(ids.name, ids.to_arrow(compat_level=pl.CompatLevel.oldest())) if ids.dtype == pl.String else ids


def _scan(parts: Sequence[CleanPart]) -> pl.LazyFrame:
    if isinstance(parts[0], CleanLog):
        return parts[0].log.lazy()
    return _scan_files(parts, "log")


def _scan_files(parts: Sequence[CleanPart], name: str) -> pl.LazyFrame:
    return pl.scan_ipc([part / f"{name}.arrow" for part in parts if isinstance(part, Path)], glob=False)


def _item_ids(parts: Sequence[CleanPart]) -> pl.Series:
    if isinstance(parts[0], CleanLog):
        return parts[0].item_ids
    distinct = _scan_files(parts, "items").unique().collect(engine="streaming")
    return _in_one_buffer(distinct.get_column("item_id").sort())


def _ends(log: pl.DataFrame) -> pl.Series | None:
    if "time" not in log.columns:
        return None
    return log.select(pl.col("time").min().append(pl.col("time").max())).to_series().drop_nulls()


def _times(parts: Sequence[CleanPart]) -> Iterator[pl.Series]:
    """The times of a shard after the other. Of a file that is mapped, nothing else is read."""
    for part in parts:
        log = part.log if isinstance(part, CleanLog) else read_arrow(part / "log.arrow")
        yield log.get_column("time")


def _quarantine(part: CleanPart) -> pl.DataFrame:
    return part.quarantine if isinstance(part, CleanLog) else read_arrow(part / "quarantine.arrow")


def _total(counts: Sequence[LogCounts], announced: int, source: str) -> LogCounts:
    total = reduce(add, counts)
    if total.rows != announced:
        raise InputError(
            f"{source}: {total.rows:,} rows were read of {announced:,}; expected files at rest: run again when they "
            "are complete"
        )
    return total


def _with_window(log: CleanLog, window: int) -> CleanLog:
    events = log.log.with_columns(window=pl.lit(window, pl.UInt8))
    return CleanLog(events, log.user_ids, log.item_ids, log.quarantine, log.counts)


def _with_one_type_of_time(log: pl.DataFrame, test: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Both logs, with times of the type that holds the times of both.

    Raises:
        InputError: There is none.
    """
    if "time" not in log.columns or log.schema["time"] == test.schema["time"]:
        return log, test
    dtype = widen(log.schema["time"], test.schema["time"])
    if dtype is not None:
        times = [frame.get_column("time") for frame in (log, test)]
        cast = [column.cast(dtype, strict=False) for column in times]
        if all(new.cast(old.dtype, strict=False).equals(old) for new, old in zip(cast, times, strict=True)):
            return log.with_columns(cast[0]), test.with_columns(cast[1])
    raise InputError(
        f"time is {log.schema['time']} in events but {test.schema['time']} in test, and no type holds the times of "
        "both without loss; expected one type: cast one of the columns"
    )


def _append(log: CleanLog, test: CleanLog, num_rows: int) -> CleanLog:
    """The log and then the test file, with one set of codes. num_rows: of the log of all shards."""
    users = _unite(log.user_ids, test.user_ids)
    items = _unite(log.item_ids, test.item_ids)
    first, later = _with_one_type_of_time(log.log, test.log)
    later = later.with_columns(row=pl.col("row") + num_rows)
    parts = ((first, users.first_codes, items.first_codes), (later, users.second_codes, items.second_codes))
    events = pl.concat([
        part.with_columns(
            user_id=pl.Series(user_codes[part.get_column("user_id")]),
            item_id=pl.Series(item_codes[part.get_column("item_id")]),
        )
        for part, user_codes, item_codes in parts
    ], how="vertical_relaxed")  # fmt: skip
    quarantine = pl.concat([
        log.quarantine.with_columns(source=pl.lit("events")), test.quarantine.with_columns(source=pl.lit("test"))
    ], how="vertical_relaxed")  # fmt: skip
    return CleanLog(sort_events(events.to_dict()), users.ids, items.ids, quarantine, log.counts)


@dataclass(frozen=True)
class _UnitedIds:
    """The sorted distinct ids of two columns, and each column's codes among them."""

    ids: pl.Series
    first_codes: Int32
    second_codes: Int32


def _unite(first: pl.Series, second: pl.Series) -> _UnitedIds:
    ids, codes = factorize_ids(pl.concat([first, cast_ids(second, first.dtype, "test")]))
    return _UnitedIds(ids, codes[: len(first)], codes[len(first) :])
