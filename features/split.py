"""Training, validation and test as index arithmetic on the offsets of grouped events.

An event's place in the grouped log is its place in the total order within its user. Leave-one-out leaks across users
by construction (one user's training events may be later than another's target): ``temporal`` is the split for a real
deployment.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from recsys.config import SplitConfig
from recsys.history import Int64, Jagged, UserEvents

TRAINING, VALIDATION, TEST = 0, 1, 2  # windows of the log, see window_of


@dataclass(frozen=True)
class Queries:
    """Who is asked for: row of the user in UserEvents, and places (indices into the grouped values) of what is given.

    history: Jagged of places, in order. targets: Jagged of places.
    """

    user_rows: Int64
    history: Jagged
    targets: Jagged


@dataclass(frozen=True)
class Split:
    """train: [num_events] bool by place. The two sets of queries."""

    train: npt.NDArray[np.bool_]
    validation: Queries
    test: Queries


def window_of(split: SplitConfig, log: pl.LazyFrame) -> pl.LazyFrame:
    """Add ``window`` (UInt8): 0 before val_start, 1 before test_start, 2 from there on; for other splits 0."""
    if split.kind != "temporal":
        return log.with_columns(window=pl.lit(TRAINING, pl.UInt8))
    if "time" not in log.collect_schema():
        raise ValueError("split 'temporal' needs a time column; found none: set data.time, or choose another split")
    _refuse_per_user_clock(log)
    val_start, test_start = (_cut(split, name, log) for name in ("val_start", "test_start"))
    if not log.select((val_start < test_start).first()).collect().item():
        raise ValueError("split.val_start must come before split.test_start")
    return log.with_columns(window=(pl.col("time") >= val_start).cast(pl.UInt8) + (pl.col("time") >= test_start))


def _cut(split: SplitConfig, name: str, log: pl.LazyFrame) -> pl.Expr:
    value = getattr(split, name)
    dtype = log.collect_schema()["time"]
    if value is None:
        raise ValueError(f"split 'temporal' needs split.{name}: a time, or a share of the events as \"70%\"")
    if isinstance(value, str) and value.endswith("%"):
        times = log.select(pl.col("time").sort()).collect().to_series()
        return pl.lit(times[int(len(times) * float(value[:-1]) / 100)], dtype)
    try:
        series = pl.Series([value])
        text_clock = isinstance(value, str) and dtype.is_temporal()
        return pl.lit((series.str.to_datetime() if text_clock else series).cast(dtype)[0], dtype)
    except pl.exceptions.PolarsError as error:
        raise ValueError(f"split.{name} = {value!r} does not fit the time column's type {dtype}") from error


def _refuse_per_user_clock(log: pl.LazyFrame) -> None:
    """A position within each user starts every user at the same value: it orders events, but it is no clock."""
    starts = log.group_by("user_id").agg(pl.col("time").min()).select("time")
    users, at_zero = starts.select(pl.len(), (pl.col("time") == pl.col("time").min()).sum()).collect().row(0)
    if users > 1 and at_zero > users / 2:
        raise ValueError(
            f"split 'temporal' needs one clock for all users, but {at_zero} of {users} users start at the same time: "
            'the column is a position within each user; use split.kind = "leave_one_out"'
        )


def split_events(split: SplitConfig, grouped: UserEvents, *, min_user_events: int, seed: tuple[int, ...]) -> Split:
    """Divide one shard's grouped events; ``seed`` draws the validation events of an unordered ``given`` split.

    Users with fewer than ``min_user_events`` events are no query. Raises ValueError where an input does not come
    before its label.
    """
    window = grouped.log.get_column("window").to_numpy()[grouped.events.values]
    offsets, lengths = grouped.events.offsets, grouped.events.lengths
    if split.kind == "leave_one_out":
        result = _leave_one_out(offsets, lengths, max(3, min_user_events))
    elif split.kind == "temporal":
        result = _temporal(offsets, window, min_user_events)
    elif "time" in grouped.log.columns:
        result = _given_ordered(offsets, window, min_user_events)
    else:
        result = _given_unordered(grouped.events, window, split.validation_share, min_user_events, seed)
    check_point_in_time(result, grouped)
    return result


def _spans(starts: Int64, ends: Int64) -> Jagged:
    """Jagged of the places start..end-1."""
    lengths = ends - starts
    offsets = np.concatenate(([0], np.cumsum(lengths)))
    return Jagged(np.repeat(starts - offsets[:-1], lengths) + np.arange(offsets[-1]), offsets)


def _last_place_queries(users: Int64, offsets: Int64, targets: Int64) -> Queries:
    """One target each, everything of the user's before it as history; users without history are left out."""
    known = targets > offsets[users]
    users, targets = users[known], targets[known]
    return Queries(users, _spans(offsets[users], targets), _spans(targets, targets + 1))


def _leave_one_out(offsets: Int64, lengths: Int64, min_events: int) -> Split:
    users = np.flatnonzero(lengths >= min_events)
    last = offsets[users + 1] - 1
    train = np.ones(offsets[-1], bool)
    train[last] = train[last - 1] = False
    return Split(train, _last_place_queries(users, offsets, last - 1), _last_place_queries(users, offsets, last))


def _temporal(offsets: Int64, window: npt.NDArray[np.uint8], min_events: int) -> Split:
    def last_in(wanted: int) -> Queries:
        ends = np.concatenate(([0], np.cumsum(window <= wanted)))[offsets[1:]]  # events up to the window's end, by user
        starts = np.concatenate(([0], np.cumsum(window <= wanted)))[offsets[:-1]]
        before = np.concatenate(([0], np.cumsum(window < wanted)))
        inside = (ends - starts) > (before[offsets[1:]] - before[offsets[:-1]])
        users = np.flatnonzero(inside & (np.diff(offsets) >= min_events))
        return _last_place_queries(users, offsets, offsets[users] + (ends - starts)[users] - 1)

    return Split(window == TRAINING, last_in(VALIDATION), last_in(TEST))


def _given_ordered(offsets: Int64, window: npt.NDArray[np.uint8], min_events: int) -> Split:
    """Validation is each user's last training event; the given test events are the targets."""
    num_given = np.concatenate(([0], np.cumsum(window == TEST)))
    test_start = offsets[1:] - np.diff(num_given[offsets])
    num_train = test_start - offsets[:-1]
    users = np.flatnonzero(num_train >= max(2, min_events))
    train = window == TRAINING
    train[test_start[users] - 1] = False
    validation = _last_place_queries(users, offsets, test_start[users] - 1)
    asked = np.flatnonzero((num_train >= 1) & (offsets[1:] > test_start))
    history = _spans(offsets[asked], test_start[asked])
    return Split(train, validation, Queries(asked, history, _spans(test_start[asked], offsets[asked + 1])))


def _given_unordered(
    events: Jagged, window: npt.NDArray[np.uint8], share: float, min_events: int, seed: tuple[int, ...]
) -> Split:
    """Validation is a random ``share`` of each user's training events, rounded down; one at least stays in training."""
    places = Jagged(np.arange(len(events.values)), events.offsets)
    given = places.keep(window == TRAINING)
    lottery = np.random.default_rng(seed).random(len(given.values))
    order = np.lexsort((lottery, given.row_of_value))
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    chosen = rank - np.repeat(given.offsets[:-1], given.lengths) < np.repeat(
        np.where(given.lengths >= max(2, min_events), (given.lengths * share).astype(np.int64), 0), given.lengths
    )
    train = window == TRAINING
    train[given.values[chosen]] = False
    held = given.keep(chosen)
    users = np.flatnonzero(held.lengths)
    test = places.keep(window == TEST)
    asked = np.flatnonzero((test.lengths > 0) & (given.lengths > 0))
    return Split(
        train,
        Queries(users, given.keep(~chosen).take(users), held.take(users)),
        Queries(asked, given.take(asked), test.take(asked)),
    )


def check_point_in_time(split: Split, grouped: UserEvents) -> None:
    """Raise ValueError where an input does not come before its label.

    In ordered data "before" is the total order: time, then row in the log (a given test file follows the log). In
    unordered data a history and its targets must share no event. No target may be a training event.
    """
    places = np.arange(len(grouped.events.values))
    for queries in (split.validation, split.test):
        history, targets = queries.history, queries.targets
        if "time" in grouped.log.columns and len(history):
            latest = np.maximum.reduceat(history.values, history.offsets[:-1])
            leaks = latest >= np.minimum.reduceat(targets.values, targets.offsets[:-1])
        else:
            leaks = np.isin(history.values, targets.values)
        _refuse(leaks, "inputs do not come before their label")
        _refuse(split.train[np.isin(places, targets.values)], "targets are also training events")
    if "time" in grouped.log.columns:
        log = grouped.log.select("time", "row", "window")[grouped.events.values]
        falls = log.select(
            (pl.col("window") < pl.col("window").shift())
            | (pl.col("time") < pl.col("time").shift())
            | ((pl.col("time") == pl.col("time").shift()) & (pl.col("row") <= pl.col("row").shift()))
        )
        within_user = np.diff(grouped.events.row_of_value, prepend=-1) == 0
        _refuse(falls.to_series().fill_null(False).to_numpy() & within_user, "events are out of (time, row) order")


def _refuse(leaks: npt.NDArray[np.bool_], what: str) -> None:
    if leaks.any():
        raise ValueError(
            f"{int(leaks.sum())} {what}: the data would leak the answer; with split 'given' the test file must be "
            "later than the log"
        )
