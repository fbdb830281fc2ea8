"""Training, validation and test as marks on grouped events, by index arithmetic on their offsets.

A place is a row of the grouped log: within a user, places follow the total order of events. A mark is a byte a place:
lists of places would be eight times as much, and the log is the most that a job holds. Leave-one-out leaks across users
by construction (one user's training events may be later than another's target): ``temporal`` is the split for a real
deployment.
"""

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt
import polars as pl

from recsys.config import SplitConfig
from recsys.data import Int64, Jagged, UserEvents, crc32_of_ids
from recsys.errors import InputError

Mask = npt.NDArray[np.bool_]
TRAINING, VALIDATION, TEST = 0, 1, 2  # windows of the log, see window_of


@dataclass(frozen=True)
class Queries:
    """Who is asked for, and which of their events are given and which are looked for; nobody else's are marked.

    user_rows: rows of UserEvents, rising. history, targets: [num_events] bool by place.
    """

    user_rows: Int64
    history: Mask
    targets: Mask


@dataclass(frozen=True)
class Split:
    """train: [num_events] bool by place. The two sets of queries. num_few: users with too few events to be one."""

    train: Mask
    validation: Queries
    test: Queries
    num_few: int


def window_of(split: SplitConfig, log: pl.DataFrame) -> pl.DataFrame:
    """Add ``window`` (UInt8): 0 before val_start, 1 before test_start, 2 from there on; for other splits 0.

    Raises InputError where a temporal split has no clock, or cuts that do not fit it.
    """
    if split.kind != "temporal":
        return log.with_columns(window=pl.lit(TRAINING, pl.UInt8))
    if "time" not in log.columns:
        raise InputError('split "temporal" needs a time column; found none: set data.time, or choose another split')
    _refuse_per_user_clock(log)
    times = log.get_column("time")
    val_start, test_start = (_cut(name, getattr(split, name), times) for name in ("val_start", "test_start"))
    if not (val_start < test_start).item():
        raise InputError(
            f"split.val_start is {val_start.item()} and split.test_start is {test_start.item()}; expected the first to "
            "come before the second: move one of them"
        )
    return log.with_columns(window=(times >= val_start).cast(pl.UInt8) + (times >= test_start))


def _cut(name: str, value: str | int | float | None, times: pl.Series) -> pl.Series:
    """The time at which a window starts, as a column of one row. ``name`` is the key in the config."""
    problem = f'split.{name} is {value!r}; expected a value of the time column ({times.dtype}), or a share as "70%"'
    if value is None:
        raise InputError(problem)
    try:
        if isinstance(value, str) and value.endswith("%"):
            percent = float(value[:-1])
            if not 0 < percent < 100:
                raise InputError(problem)
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
        raise InputError(problem) from error
    raise InputError(problem)


def _refuse_per_user_clock(log: pl.DataFrame) -> None:
    """A position within each user starts most users at one value and never repeats: it orders, but is no clock."""
    if not log.schema["time"].is_numeric():
        return
    starts = log.group_by("user_id").agg(pl.col("time").min()).get_column("time")
    users, at_first = len(starts), int((starts == starts.min()).sum())
    if users < 2 or at_first <= users / 2:
        return
    if log.select(pl.struct("user_id", "time").n_unique()).item() == log.height:
        raise InputError(
            f'split "temporal" needs one clock for all users, but {at_first} of {users} users start at the same time: '
            'the column is a position within each user; use split.kind = "leave_one_out"'
        )


def split_events(split: SplitConfig, grouped: UserEvents, *, min_user_events: int) -> Split:
    """Divide grouped events, each user by itself: who else is in the shard changes nothing.

    Users with fewer than ``min_user_events`` events train but are no query; a given test asks whomever it names who
    has a training event. Raises InputError where an input does not come before its label.
    """
    window = grouped.log.get_column("window").to_numpy()
    if split.kind == "leave_one_out":
        result = _leave_one_out(grouped.items, max(3, min_user_events))
    elif split.kind == "temporal":
        result = _temporal(grouped.items, window, min_user_events)
    elif "time" in grouped.log.columns:
        result = _given_ordered(grouped.items, window, min_user_events)
    else:
        result = _given_unordered(split, grouped, window, min_user_events)
    check_point_in_time(result, grouped)
    return result


def _spans(starts: Int64, ends: Int64, num_events: int) -> Mask:
    """[num_events] bool: the places from each start up to its end, which is none where they are one."""
    steps = np.zeros(num_events + 1, np.int8)
    np.add.at(steps, starts, 1)
    np.add.at(steps, ends, -1)
    return np.cumsum(steps[:-1], dtype=np.int8).view(np.bool_)


def _last_place_queries(users: Int64, items: Jagged, targets: Int64) -> Queries:
    """One target each, everything of the user's before it as history; users without history are left out."""
    known = targets > items.offsets[users]
    users, targets = users[known], targets[known]
    num_events = len(items.values)
    return Queries(users, _spans(items.offsets[users], targets, num_events), _spans(targets, targets + 1, num_events))


def _leave_one_out(items: Jagged, min_events: int) -> Split:
    """The last event is the test target, the one before it the validation target."""
    users = np.flatnonzero(items.lengths >= min_events)
    last = items.offsets[users + 1] - 1
    train = np.ones(len(items.values), bool)
    train[last] = train[last - 1] = False
    validation, test = (_last_place_queries(users, items, target) for target in (last - 1, last))
    return Split(train, validation, test, len(items) - len(users))


def _temporal(items: Jagged, window: npt.NDArray[np.uint8], min_events: int) -> Split:
    """The target is a user's last event in a window, the history all before it; what comes later counts for nothing."""

    def last_in(wanted: int) -> Queries:
        up_to = items.count(window <= wanted)
        users = np.flatnonzero((up_to > items.count(window < wanted)) & (up_to >= min_events))
        return _last_place_queries(users, items, items.offsets[users] + up_to[users] - 1)

    num_few = int((items.lengths < min_events).sum())
    return Split(window == TRAINING, last_in(VALIDATION), last_in(TEST), num_few)


def _given_ordered(items: Jagged, window: npt.NDArray[np.uint8], min_events: int) -> Split:
    """Validation is each user's last training event; the given test events are the targets."""
    train = window == TRAINING
    num_train = items.count(train)
    test_start = items.offsets[:-1] + num_train
    enough = num_train >= max(2, min_events)
    users = np.flatnonzero(enough)
    train[test_start[users] - 1] = False
    validation = _last_place_queries(users, items, test_start[users] - 1)
    asked = np.flatnonzero((num_train > 0) & (items.offsets[1:] > test_start))
    history = _spans(items.offsets[asked], test_start[asked], len(window))
    targets = _spans(test_start[asked], items.offsets[asked + 1], len(window))
    return Split(train, validation, Queries(asked, history, targets), int(((num_train > 0) & ~enough).sum()))


def _given_unordered(split: SplitConfig, grouped: UserEvents, window: npt.NDArray[np.uint8], min_events: int) -> Split:
    """Validation is a random share of each user's training events; one at least stays in training.

    A part of an event is held out with that probability: rounded down, nobody with few events would be asked.
    """
    given, test, lengths = window == TRAINING, window == TEST, grouped.items.lengths
    num_given, num_test = grouped.items.count(given), grouped.items.count(test)
    enough = num_given >= max(2, min_events)
    users_crc = crc32_of_ids(grouped.user_ids).astype(np.uint64)
    rounding = _lottery(split.seed, users_crc, np.full(len(users_crc), -1)) / 2.0**64
    num_held = np.minimum((num_given * split.validation_share + rounding).astype(np.int64), num_given - 1)
    num_held = np.where(enough, num_held, 0)
    starts, row = np.cumsum(num_given) - num_given, np.repeat(np.arange(len(num_given)), num_given)
    draws = _lottery(split.seed, users_crc[row], np.arange(len(row)) - starts[row])
    order = np.lexsort((draws, row))
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    held = np.zeros(len(given), bool)
    held[np.flatnonzero(given)[rank < (starts + num_held)[row]]] = True
    in_validation, in_test = num_held > 0, (num_test > 0) & (num_given > 0)
    train = given & ~held
    return Split(
        train,
        Queries(np.flatnonzero(in_validation), train & np.repeat(in_validation, lengths), held),
        Queries(np.flatnonzero(in_test), *(part & np.repeat(in_test, lengths) for part in (given, test))),
        int(((num_given > 0) & ~enough).sum()),
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
    """Raise InputError where an input does not come before its label.

    In ordered data "before" is the total order: time, then row in the log (a given test file follows the log), and
    neither a query's history nor the user's training events may reach its first target. In unordered data a history
    and its targets must share no event. No target may be a training event.
    """
    ordered = "time" in grouped.log.columns
    for queries in (split.validation, split.test):
        if ordered and len(queries.user_rows):
            targets = np.flatnonzero(queries.targets)
            first = targets[np.searchsorted(targets, grouped.items.offsets[queries.user_rows])]
            end = grouped.items.offsets[queries.user_rows + 1]
            _refuse(_any_between(queries.history, first, end), "histories do not end before their label")
            late = _any_between(split.train, first, end)
            _refuse(late, "users train on an event that does not come before their label")
        if not ordered:  # else they end before it
            _refuse(queries.history & queries.targets, "inputs are also their label")
        _refuse(split.train & queries.targets, "training events are also a label")
    if ordered:
        (window, window_next), (time, time_next), (row, row_next) = (
            (grouped.log.get_column(name).head(-1), grouped.log.get_column(name).slice(1))
            for name in ("window", "time", "row")
        )
        falls = (window_next < window) | (time_next < time) | ((time_next == time) & (row_next <= row))
        _refuse(falls.to_numpy() & grouped.items.continues[1:], "events are out of (time, row) order")


def _any_between(mask: Mask, starts: Int64, ends: Int64) -> Mask:
    """Whether anything is marked from a start up to its end, which is further on and no further than the next start."""
    bounds = np.stack([starts, ends], axis=1).ravel()
    return np.logical_or.reduceat(np.append(mask, False), bounds)[::2]


def _refuse(leaks: Mask, what: str) -> None:
    if leaks.any():
        raise InputError(
            f'{int(leaks.sum())} {what}: the data would leak the answer; with split "given" '
            "the test file must be later than the log"
        )
