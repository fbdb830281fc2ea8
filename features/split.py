"""Training, validation and test events, as masks over a grouped log.

A mask is [num_events] bool: one byte an event, where a list of rows would take eight, and the log is the largest thing
that a job holds. Within a user, events follow the total order. Leave-one-out leaks across users by construction, since
one user's training events may be later than another's target: ``temporal`` is the split for a real deployment.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recsys.config import SplitConfig
from recsys.data import Int64, Jagged, UserEvents, crc32_of_ids
from recsys.errors import InputError

from .draws import EVENTS_OF_USER, UInt64, draw, draw_users
from .windows import TEST, TRAINING, VALIDATION

Mask = npt.NDArray[np.bool_]
Windows = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Queries:
    """The users who are queries, and which of their events are history and which are targets.

    Attributes:
        user_rows: [num_queries] int64 rows of UserEvents, ascending.
        history, targets: Masks; no event of another user is marked.
    """

    user_rows: Int64
    history: Mask
    targets: Mask


@dataclass(frozen=True)
class Split:
    """What every event is used for.

    Attributes:
        train: A mask.
        validation, test: The two sets of queries.
        num_few: Users with too few events to be a query.
    """

    train: Mask
    validation: Queries
    test: Queries
    num_few: int


def split_events(
    split: SplitConfig,
    grouped: UserEvents,
    *,
    min_user_events: int,
    asks_without_history: bool = False,
    held_out_items: Mask | None = None,
) -> Split:
    """Split the events of each user, independently of all other users.

    Args:
        split: The kind of split, and its settings.
        grouped: Events with their ``window``, see windows.py.
        min_user_events: Users with fewer events are trained on, but are never queries. In a "given" split every user
            of the test file who has a training event is a test query.
        asks_without_history: Whether users may be queries without a history.
        held_out_items: [num_items] items whose users (those whose first event is theirs) are all held out for
            validation, so that it asks for items that training has not seen.

    Raises:
        InputError: An input does not come before its label.
    """
    windows, is_ordered = grouped.log.get_column("window").to_numpy(), "time" in grouped.log.columns
    least_history = 0 if asks_without_history else 1
    if split.kind == "leave_one_out":
        result = _leave_one_out(grouped.items, max(3, min_user_events))
    elif split.kind == "temporal":
        result = _temporal(grouped.items, windows, min_user_events, least_history)
    elif split.kind == "users":
        result = _by_user(split, grouped, min_user_events, least_history, held_out_items, is_ordered=is_ordered)
    elif is_ordered:
        result = _given_ordered(split, grouped, windows, min_user_events, least_history)
    elif asks_without_history:
        result = _given_queries(split, grouped, windows, held_out_items)
    else:
        result = _given_unordered(split, grouped, windows, min_user_events)
    check_point_in_time(result, grouped)
    return result


def _leave_one_out(items: Jagged, min_events: int) -> Split:
    """The last event is the test target, the one before it the validation target."""
    users = np.flatnonzero(items.lengths >= min_events)
    last = items.offsets[users + 1] - 1
    train = np.ones(len(items.values), bool)
    train[last] = train[last - 1] = False
    validation, test = (_one_target_queries(users, items, target) for target in (last - 1, last))
    return Split(train, validation, test, len(items) - len(users))


def _temporal(items: Jagged, windows: Windows, min_events: int, least_history: int) -> Split:
    """The target is a user's last event in a window, the history everything before it."""

    def last_event_in(window: int) -> Queries:
        num_until_end = items.count(windows <= window)
        has_event = num_until_end > items.count(windows < window)
        users = np.flatnonzero(has_event & (num_until_end >= min_events))
        return _one_target_queries(users, items, items.offsets[users] + num_until_end[users] - 1, least_history)

    num_few = int((items.lengths < min_events).sum())
    return Split(windows == TRAINING, last_event_in(VALIDATION), last_event_in(TEST), num_few)


def _by_user(
    split: SplitConfig, grouped: UserEvents, min_events: int, least_history: int, held_out_items: Mask | None,
    *, is_ordered: bool,
) -> Split:  # fmt: skip
    """Users are held out whole. With an order, the last event is the target; without one, every event is."""
    items = grouped.items
    has_enough = items.lengths >= max(min_events, least_history + 1)
    uniform = draw_users(split, grouped)
    is_test = has_enough & (uniform < split.test_share)
    is_drawn = uniform < split.test_share + split.validation_share
    is_validation = has_enough & ~is_test & (is_drawn | _of_held_out(items, held_out_items))
    of_validation, of_test = np.repeat(is_validation, items.lengths), np.repeat(is_test, items.lengths)

    def queries(is_query: Mask, events: Mask) -> Queries:
        users = np.flatnonzero(is_query)
        if is_ordered:
            return _one_target_queries(users, items, items.offsets[users + 1] - 1, least_history)
        return Queries(users, np.zeros_like(events), events)

    num_few = int((~has_enough).sum())
    validation, test = queries(is_validation, of_validation), queries(is_test, of_test)
    return Split(~(of_validation | of_test), validation, test, num_few)


def _given_ordered(
    split: SplitConfig, grouped: UserEvents, windows: Windows, min_events: int, least_history: int
) -> Split:
    """Validation is each user's last training event; the targets of the test are the given test events.

    Of the users with a single training event, who are queries without a history, only a share is held out.
    """
    items, train = grouped.items, windows == TRAINING
    num_train = items.count(train)
    test_start = items.offsets[:-1] + num_train
    has_enough = num_train >= max(2, min_events)
    if not least_history:
        has_enough |= (num_train == 1) & (draw_users(split, grouped) < split.validation_share)
    users = np.flatnonzero(has_enough)
    validation = _one_target_queries(users, items, test_start[users] - 1, least_history)
    train[test_start[users] - 1] = False
    test_users = np.flatnonzero((num_train >= least_history) & (items.offsets[1:] > test_start))
    history = _mark_spans(items.offsets[test_users], test_start[test_users], len(windows))
    targets = _mark_spans(test_start[test_users], items.offsets[test_users + 1], len(windows))
    num_few = int(((num_train > 0) & ~has_enough).sum())
    return Split(train, validation, Queries(test_users, history, targets), num_few)


def _given_queries(split: SplitConfig, grouped: UserEvents, windows: Windows, held_out_items: Mask | None) -> Split:
    """Users are queries without a history: a share of those in the log is held out whole, those of the test file are
    the test. What a user of the test file has in the log is their history.
    """
    lengths, in_log = grouped.items.lengths, windows == TRAINING
    num_in_log, num_in_test = grouped.items.count(in_log), grouped.items.count(windows == TEST)
    is_test = num_in_test > 0
    is_drawn = draw_users(split, grouped) < split.validation_share
    is_validation = (num_in_log > 0) & ~is_test & (is_drawn | _of_held_out(grouped.items, held_out_items))
    of_validation, of_test = np.repeat(is_validation, lengths), np.repeat(is_test, lengths)
    return Split(
        in_log & ~of_validation,
        Queries(np.flatnonzero(is_validation), np.zeros_like(in_log), of_validation),
        Queries(np.flatnonzero(is_test), in_log & of_test, (windows == TEST) & of_test),
        num_few=0,
    )


def _of_held_out(items: Jagged, held_out_items: Mask | None) -> Mask:
    """[num_users] bool: users whose first event is of an item that is held out."""
    if held_out_items is None:
        return np.zeros(len(items), bool)
    is_held_out: Mask = held_out_items[items.values[items.offsets[:-1]]]
    return is_held_out


def _given_unordered(split: SplitConfig, grouped: UserEvents, windows: Windows, min_events: int) -> Split:
    """Validation is a random share of each user's events in the log; at least one stays in training.

    Every random number depends on the seed, the user's id and the number of the event within the user alone, so that
    neither the other users, nor the shards, nor the test file change what is held out.
    """
    in_log, in_test, lengths = windows == TRAINING, windows == TEST, grouped.items.lengths
    num_in_log, num_in_test = grouped.items.count(in_log), grouped.items.count(in_test)
    has_enough = num_in_log >= max(2, min_events)
    user_crc = crc32_of_ids(grouped.user_ids).astype(np.uint64)

    num_held_out = np.where(has_enough, _num_held_out(num_in_log, split, user_crc), 0)
    events = Jagged.from_lengths(np.flatnonzero(in_log), num_in_log)
    user = events.row_of_value
    draws = draw(split.seed, user_crc[user], np.arange(len(user)) - events.offsets[user])
    held_out = np.zeros(len(windows), bool)
    held_out[events.values[_rank_in_row(draws, events) < num_held_out[user]]] = True

    train, is_validation, is_test = in_log & ~held_out, num_held_out > 0, (num_in_test > 0) & (num_in_log > 0)
    in_validation, of_test_users = np.repeat(is_validation, lengths), np.repeat(is_test, lengths)
    return Split(
        train,
        Queries(np.flatnonzero(is_validation), train & in_validation, held_out),
        Queries(np.flatnonzero(is_test), in_log & of_test_users, in_test & of_test_users),
        int(((num_in_log > 0) & ~has_enough).sum()),
    )


def _num_held_out(num_events: Int64, split: SplitConfig, user_crc: UInt64) -> Int64:
    """[num_users] int64: how many of a user's events are held out, below ``num_events``.

    The share of the events is rounded up with a probability equal to its fraction. If it were always rounded down, no
    user with few events would be a query.
    """
    uniform = draw(split.seed, user_crc, np.full(len(user_crc), EVENTS_OF_USER)) / 2.0**64
    return np.minimum((num_events * split.validation_share + uniform).astype(np.int64), num_events - 1)


def _rank_in_row(draws: UInt64, rows: Jagged) -> Int64:
    """[total] int64: how many values of the same row come before it when they are sorted by draw."""
    row = rows.row_of_value
    rank = np.empty(len(row), np.int64)
    rank[np.lexsort((draws, row))] = np.arange(len(row))  # sorted by row, then by draw: a row's values stay together
    return rank - rows.offsets[row]


def _one_target_queries(users: Int64, items: Jagged, targets: Int64, least_history: int = 1) -> Queries:
    """Queries with one target each and the user's events before it as history; those with less are left out."""
    has_history = targets >= items.offsets[users] + least_history
    users, targets = users[has_history], targets[has_history]
    num_events = len(items.values)
    history = _mark_spans(items.offsets[users], targets, num_events)
    return Queries(users, history, _mark_spans(targets, targets + 1, num_events))


def _mark_spans(starts: Int64, ends: Int64, num_events: int) -> Mask:
    """[num_events] bool: the events from each start up to its end. Spans do not overlap, and may be empty."""
    steps = np.zeros(num_events + 1, np.int8)
    np.add.at(steps, starts, 1)
    np.add.at(steps, ends, -1)
    return np.cumsum(steps[:-1], dtype=np.int8).view(np.bool_)


def check_point_in_time(split: Split, grouped: UserEvents) -> None:
    """Raise InputError if an input does not come before its label.

    In ordered data "before" means the total order: time, then row in the log, which a given test file follows. Neither
    a query's history nor its user's training events may reach the first target. In unordered data a history and its
    targets must share no event. No target may be a training event.
    """
    is_ordered = "time" in grouped.log.columns
    for queries in (split.validation, split.test):
        if is_ordered and len(queries.user_rows):
            targets = np.flatnonzero(queries.targets)
            first_target = targets[np.searchsorted(targets, grouped.items.offsets[queries.user_rows])]
            end = grouped.items.offsets[queries.user_rows + 1]
            late_history = _any_in_spans(queries.history, first_target, end)
            _refuse(late_history, "histories do not end before their label")
            late_training = _any_in_spans(split.train, first_target, end)
            _refuse(late_training, "users train on an event that does not come before their label")
        if not is_ordered:
            _refuse(queries.history & queries.targets, "inputs are also their label")
        _refuse(split.train & queries.targets, "training events are also a label")
    if is_ordered:
        (window, next_window), (time, next_time), (row, next_row) = (
            (grouped.log.get_column(name).head(-1), grouped.log.get_column(name).slice(1))
            for name in ("window", "time", "row")
        )
        goes_back = (next_window < window) | (next_time < time) | ((next_time == time) & (next_row <= row))
        _refuse(goes_back.to_numpy() & grouped.items.continues[1:], "events are out of (time, row) order")


def _any_in_spans(mask: Mask, starts: Int64, ends: Int64) -> Mask:
    """[n] bool: whether anything is marked from a start up to its end. Spans are not empty, and ascend."""
    bounds = np.stack([starts, ends], axis=1).ravel()
    return np.logical_or.reduceat(np.append(mask, False), bounds)[::2]


def _refuse(leaks: Mask, what: str) -> None:
    if leaks.any():
        raise InputError(
            f'{int(leaks.sum())} {what}: the data would leak the answer; with split "given" '
            "the test file must be later than the log"
        )
