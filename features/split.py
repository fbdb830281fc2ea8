"""Training, validation and test as index arithmetic on the offsets of grouped events.

A place is a row of the grouped log: within a user, places follow the total order of events. Leave-one-out leaks across
users by construction (one user's training events may be later than another's target): ``temporal`` is the split for a
real deployment.
"""

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt
import polars as pl

from recsys.codes import Int64, crc_of
from recsys.config import SplitConfig
from recsys.history import Jagged, UserEvents

TRAINING, VALIDATION, TEST = 0, 1, 2  # windows of the log, see window_of


@dataclass(frozen=True)
class Queries:
    """Who is asked for: row of the user in UserEvents, and places (rows of its log) of what is given.

    history: Jagged of places, in order. targets: Jagged of places.
    """

    user_rows: Int64
    history: Jagged
    targets: Jagged


@dataclass(frozen=True)
class Split:
    """train: [num_events] bool by place. The two sets of queries. num_few: users with too few events to be one."""

    train: npt.NDArray[np.bool_]
    validation: Queries
    test: Queries
    num_few: int


def window_of(split: SplitConfig, log: pl.DataFrame) -> pl.DataFrame:
    """Add ``window`` (UInt8): 0 before val_start, 1 before test_start, 2 from there on; for other splits 0.

    Raises ValueError where a temporal split has no clock, or cuts that do not fit it.
    """
    if split.kind != "temporal":
        return log.with_columns(window=pl.lit(TRAINING, pl.UInt8))
    if "time" not in log.columns:
        raise ValueError('split "temporal" needs a time column; found none: set data.time, or choose another split')
    _refuse_per_user_clock(log)
    times = log.get_column("time")
    val_start, test_start = (_cut(name, getattr(split, name), times) for name in ("val_start", "test_start"))
    if not (val_start < test_start).item():
        raise ValueError(
            f"split.val_start is {val_start.item()} and split.test_start is {test_start.item()}; expected the first to "
            "come before the second: move one of them"
        )
    return log.with_columns(window=(times >= val_start).cast(pl.UInt8) + (times >= test_start))


def _cut(name: str, value: str | int | float | None, times: pl.Series) -> pl.Series:
    """The time at which a window starts, as a column of one row. ``name`` is the key in the config."""
    problem = f'split.{name} is {value!r}; expected a value of the time column ({times.dtype}), or a share as "70%"'
    if value is None:
        raise ValueError(problem)
    try:
        if isinstance(value, str) and value.endswith("%"):
            percent = float(value[:-1])
            if not 0 < percent < 100:
                raise ValueError(problem)
            return times.sort().slice(int(len(times) * percent / 100), 1)
        if times.dtype.is_temporal():
            moment = pl.Series([datetime.fromisoformat(str(value))])
            zone = getattr(times.dtype, "time_zone", None)
            if zone and not moment.dtype.time_zone:  # type: ignore[attr-defined]  # it is a Datetime
                moment = moment.dt.replace_time_zone(zone)
            return moment.cast(times.dtype)
        if isinstance(value, str):
            return pl.Series([value]).cast(times.dtype)
        if times.dtype.is_numeric():
            return pl.Series([value])
    except (ValueError, pl.exceptions.PolarsError) as error:
        raise ValueError(problem) from error
    raise ValueError(problem)


def _refuse_per_user_clock(log: pl.DataFrame) -> None:
    """A position within each user starts most users at one value and never repeats: it orders, but is no clock."""
    if not log.schema["time"].is_numeric():
        return
    starts = log.group_by("user_id").agg(pl.col("time").min()).get_column("time")
    users, at_first = len(starts), int((starts == starts.min()).sum())
    if users < 2 or at_first <= users / 2:
        return
    if log.select(pl.struct("user_id", "time").n_unique()).item() == log.height:
        raise ValueError(
            f'split "temporal" needs one clock for all users, but {at_first} of {users} users start at the same time: '
            'the column is a position within each user; use split.kind = "leave_one_out"'
        )


def split_events(split: SplitConfig, grouped: UserEvents, *, min_user_events: int) -> Split:
    """Divide grouped events, each user by itself: who else is in the shard changes nothing.

    Users with fewer than ``min_user_events`` events train but are no query; a given test asks whomever it names who
    has a training event. Raises ValueError where an input does not come before its label.
    """
    window = grouped.log.get_column("window").to_numpy()
    offsets, lengths = grouped.items.offsets, grouped.items.lengths
    if split.kind == "leave_one_out":
        result = _leave_one_out(offsets, lengths, max(3, min_user_events))
    elif split.kind == "temporal":
        result = _temporal(offsets, window, min_user_events)
    elif "time" in grouped.log.columns:
        result = _given_ordered(offsets, window, min_user_events)
    else:
        result = _given_unordered(split, grouped, window, min_user_events)
    check_point_in_time(result, grouped)
    return result


def _spans(starts: Int64, ends: Int64) -> Jagged:
    """Jagged of the places start..end-1, the later ones further on."""
    some = starts < ends
    steps = np.zeros(ends.max(initial=0) + 1, np.int8)
    steps[starts[some]] += 1
    steps[ends[some]] -= 1
    return Jagged.from_lengths(np.flatnonzero(np.cumsum(steps, dtype=np.int8)), ends - starts)


def _last_place_queries(users: Int64, offsets: Int64, targets: Int64) -> Queries:
    """One target each, everything of the user's before it as history; users without history are left out."""
    known = targets > offsets[users]
    users, targets = users[known], targets[known]
    return Queries(users, _spans(offsets[users], targets), Jagged(targets, np.arange(len(targets) + 1)))


def _per_user(mask: npt.NDArray[np.bool_], offsets: Int64) -> Int64:
    """[num_users] int64: how many of each user's events are marked."""
    return np.diff(np.concatenate(([0], np.cumsum(mask)))[offsets])


def _leave_one_out(offsets: Int64, lengths: Int64, min_events: int) -> Split:
    """The last event is the test target, the one before it the validation target."""
    users = np.flatnonzero(lengths >= min_events)
    last = offsets[users + 1] - 1
    train = np.ones(offsets[-1], bool)
    train[last] = train[last - 1] = False
    validation, test = (_last_place_queries(users, offsets, target) for target in (last - 1, last))
    return Split(train, validation, test, len(lengths) - len(users))


def _temporal(offsets: Int64, window: npt.NDArray[np.uint8], min_events: int) -> Split:
    """The target is a user's last event in a window, the history all before it; what comes later counts for nothing."""

    def last_in(wanted: int) -> Queries:
        up_to = _per_user(window <= wanted, offsets)
        users = np.flatnonzero((up_to > _per_user(window < wanted, offsets)) & (up_to >= min_events))
        return _last_place_queries(users, offsets, offsets[users] + up_to[users] - 1)

    num_few = int((np.diff(offsets) < min_events).sum())
    return Split(window == TRAINING, last_in(VALIDATION), last_in(TEST), num_few)


def _given_ordered(offsets: Int64, window: npt.NDArray[np.uint8], min_events: int) -> Split:
    """Validation is each user's last training event; the given test events are the targets."""
    num_train = _per_user(window == TRAINING, offsets)
    test_start = offsets[:-1] + num_train
    enough = num_train >= max(2, min_events)
    users = np.flatnonzero(enough)
    train = window == TRAINING
    train[test_start[users] - 1] = False
    validation = _last_place_queries(users, offsets, test_start[users] - 1)
    asked = np.flatnonzero((num_train > 0) & (offsets[1:] > test_start))
    history, targets = _spans(offsets[asked], test_start[asked]), _spans(test_start[asked], offsets[asked + 1])
    return Split(train, validation, Queries(asked, history, targets), int(((num_train > 0) & ~enough).sum()))


def _given_unordered(split: SplitConfig, grouped: UserEvents, window: npt.NDArray[np.uint8], min_events: int) -> Split:
    """Validation is a random share of each user's training events; one at least stays in training.

    A part of an event is held out with that probability: rounded down, nobody with few events would be asked.
    """
    places = Jagged(np.arange(len(grouped.items.values)), grouped.items.offsets)
    given, test = places.keep(window == TRAINING), places.keep(window == TEST)
    enough = given.lengths >= max(2, min_events)
    users_crc = crc_of(grouped.user_ids).astype(np.uint64)
    rounding = _lottery(split.seed, users_crc, np.full(len(users_crc), -1)) / 2.0**64
    num_held = np.minimum((given.lengths * split.validation_share + rounding).astype(np.int64), given.lengths - 1)
    num_held = np.where(enough, num_held, 0)
    number = np.arange(len(given.values)) - np.repeat(given.offsets[:-1], given.lengths)
    draws = _lottery(split.seed, np.repeat(users_crc, given.lengths), number)
    order = np.lexsort((draws, given.row_of_value))
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    chosen = rank < np.repeat(given.offsets[:-1] + num_held, given.lengths)
    train = window == TRAINING
    train[given.values[chosen]] = False
    users = np.flatnonzero(num_held)
    asked = np.flatnonzero((test.lengths > 0) & (given.lengths > 0))
    return Split(
        train,
        Queries(users, given.keep(~chosen).take(users), given.keep(chosen).take(users)),
        Queries(asked, given.take(asked), test.take(asked)),
        int(((given.lengths > 0) & ~enough).sum()),
    )


def _lottery(seed: int, users_crc: npt.NDArray[np.uint64], number: Int64) -> npt.NDArray[np.uint64]:
    """[total] uint64: a draw for each pair of user and number, such as an event's within the user; a hash of both."""
    return _mixed(_mixed(_mixed(np.full(1, seed, np.uint64)) + users_crc) + number.astype(np.uint64))


def _mixed(state: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The splitmix64 step of Steele, Lea and Flood (2014); uint64 arithmetic wraps around."""
    state = state + np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


def check_point_in_time(split: Split, grouped: UserEvents) -> None:
    """Raise ValueError where an input does not come before its label.

    In ordered data "before" is the total order: time, then row in the log (a given test file follows the log), and
    neither a query's history nor the user's training events may reach its first target. In unordered data a history
    and its targets must share no event. No target may be a training event.
    """
    ordered = "time" in grouped.log.columns
    trained = np.flatnonzero(split.train)
    for queries in (split.validation, split.test):
        history, targets = queries.history, queries.targets
        if ordered and len(history):
            first = np.minimum.reduceat(targets.values, targets.offsets[:-1])
            _refuse(
                np.maximum.reduceat(history.values, history.offsets[:-1]) >= first,
                "histories do not end before their label",
            )
            late = np.searchsorted(trained, grouped.items.offsets[queries.user_rows + 1]) > np.searchsorted(
                trained, first
            )
            _refuse(late, "users train on an event that does not come before their label")
        if not ordered:  # else they end before it
            label = np.zeros(len(split.train), bool)
            label[targets.values] = True
            _refuse(label[history.values], "inputs are also their label")
        _refuse(split.train[targets.values], "training events are also a label")
    if ordered:
        (window, window_next), (time, time_next), (row, row_next) = (
            (grouped.log.get_column(name).head(-1), grouped.log.get_column(name).slice(1))
            for name in ("window", "time", "row")
        )
        falls = (window_next < window) | (time_next < time) | ((time_next == time) & (row_next <= row))
        _refuse(falls.to_numpy() & grouped.items.continues[1:], "events are out of (time, row) order")


def _refuse(leaks: npt.NDArray[np.bool_], what: str) -> None:
    if leaks.any():
        raise ValueError(
            f'{int(leaks.sum())} {what}: the data would leak the answer; with split "given" '
            "the test file must be later than the log"
        )
