from dataclasses import replace
from typing import Any, Literal

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings, strategies as st

from features.split import Queries, Split, check_point_in_time, split_events
from features.windows import TEST, TRAINING, VALIDATION
from recsys.config import SplitConfig
from recsys.data.factorize import factorize_ids
from recsys.data.history import UserEvents, group_events, sort_events
from recsys.data.jagged import Jagged

Query = tuple[list[int], list[int]]  # rows of the log: history, targets


def grouped_log(users: list[int], times: list[Any] | None = None, windows: list[int] | None = None) -> UserEvents:
    user_ids, codes = factorize_ids(pl.Series("user_id", users, dtype=pl.Int64))
    log = pl.DataFrame({
        "row": pl.Series(range(len(users)), dtype=pl.UInt32), "user_id": codes, "item_id": codes,
        "window": pl.Series(windows or [0] * len(users), dtype=pl.UInt8),
    })  # fmt: skip
    return group_events(
        sort_events((log if times is None else log.with_columns(time=pl.Series(times))).to_dict()), user_ids
    )


def query_rows(grouped: UserEvents, queries: Queries) -> dict[int, Query]:
    marked = {mask: Jagged(grouped.log["row"].to_numpy(), grouped.items.offsets).keep(getattr(queries, mask))
              for mask in ("history", "targets")}  # fmt: skip
    rest = {user: tuple(lists[user].tolist() for lists in marked.values()) for user in range(len(grouped.items))}
    rows = {grouped.user_ids[user]: rest.pop(user) for user in queries.user_rows.tolist()}
    assert all(marks == ([], []) for marks in rest.values())  # no event of another user is marked
    return rows


def trained(grouped: UserEvents, split: Split) -> set[int]:
    return set(grouped.log["row"].filter(pl.Series(split.train)))


def rows_in_order(users: list[int], times: list[int]) -> dict[int, list[int]]:
    """The oracle's own order: each user's rows by time, then row."""
    return {
        user: sorted((row for row, owner in enumerate(users) if owner == user), key=lambda row: (times[row], row))
        for user in set(users)
    }


LOGS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4), st.integers(0, 2)), min_size=1, max_size=24)
quick = settings(max_examples=120, deadline=None)


@quick
@given(LOGS, st.integers(1, 5), st.booleans())
def test_leave_one_out_against_a_loop(log: list[tuple[int, int, int]], least: int, ordered: bool) -> None:
    users, times = [user for user, _, _ in log], [time for _, time, _ in log]
    grouped = grouped_log(users, times if ordered else None)
    split = split_events(SplitConfig(), grouped, min_user_events=least)
    train, validation, test, few = set(range(len(log))), {}, {}, 0
    for user, mine in rows_in_order(users, times if ordered else [0] * len(log)).items():
        if len(mine) >= 3 and len(mine) >= least:
            validation[user], test[user] = (mine[:-2], mine[-2:-1]), (mine[:-1], mine[-1:])
            train -= {*mine[-2:]}
        else:
            few += 1
    assert trained(grouped, split) == train
    assert query_rows(grouped, split.validation) == validation
    assert query_rows(grouped, split.test) == test
    assert split.num_few == few


@quick
@given(LOGS, st.integers(0, 4), st.integers(0, 4), st.integers(1, 4))
def test_temporal_against_a_loop(log: list[tuple[int, int, int]], start: int, more: int, least: int) -> None:
    users, times = [user for user, _, _ in log], [time for _, time, _ in log]
    windows = [(time >= start) + (time >= start + more) for time in times]
    grouped = grouped_log(users, times, windows)
    split = split_events(SplitConfig(kind="temporal"), grouped, min_user_events=least)
    expected: dict[int, dict[int, Query]] = {VALIDATION: {}, TEST: {}}
    for user, mine in rows_in_order(users, times).items():
        for window, found in expected.items():
            known = [row for row in mine if windows[row] <= window]
            if any(windows[row] == window for row in known) and len(known) >= max(2, least):
                found[user] = (known[:-1], known[-1:])
    assert trained(grouped, split) == {row for row, window in enumerate(windows) if window == TRAINING}
    assert query_rows(grouped, split.validation) == expected[VALIDATION]
    assert query_rows(grouped, split.test) == expected[TEST]
    assert split.num_few == sum(users.count(user) < least for user in set(users))


@quick
@given(LOGS, st.integers(1, 4))
def test_given_ordered_against_a_loop(log: list[tuple[int, int, int]], least: int) -> None:
    log = sorted(log, key=lambda event: event[2] == 2)  # a third of the events are the test file, which follows the log
    users, windows = [user for user, _, _ in log], [TEST if part == 2 else TRAINING for _, _, part in log]
    times = [time + 10 * (part == 2) for _, time, part in log]
    grouped = grouped_log(users, times, windows)
    split = split_events(SplitConfig(kind="given"), grouped, min_user_events=least)
    train, validation, test, few = set(), {}, {}, 0
    for user, mine in rows_in_order(users, times).items():
        known = [row for row in mine if windows[row] == TRAINING]
        held = [row for row in mine if windows[row] == TEST]
        if known and held:
            test[user] = (known, held)
        if len(known) >= max(2, least):
            validation[user] = (known[:-1], known[-1:])
            known = known[:-1]
        elif known:
            few += 1
        train |= {*known}
    assert trained(grouped, split) == train
    assert query_rows(grouped, split.validation) == validation
    assert query_rows(grouped, split.test) == test
    assert split.num_few == few


@quick
@given(LOGS, st.integers(1, 4), st.floats(0.05, 0.95))
def test_given_unordered_against_a_loop(log: list[tuple[int, int, int]], least: int, share: float) -> None:
    users, windows = [user for user, _, _ in log], [TEST if part == 2 else TRAINING for _, _, part in log]
    grouped = grouped_log(users, None, windows)
    config = SplitConfig(kind="given", validation_share=share)
    split = split_events(config, grouped, min_user_events=least)
    train, validation, test = (
        trained(grouped, split),
        query_rows(grouped, split.validation),
        query_rows(grouped, split.test),
    )
    for user in set(users):
        known = [row for row, owner in enumerate(users) if owner == user and windows[row] == TRAINING]
        held = [row for row, owner in enumerate(users) if owner == user and windows[row] == TEST]
        assert test.get(user) == ((known, held) if known and held else None)
        enough, wanted = len(known) >= max(2, least), len(known) * share
        kept = [row for row in known if row in train]
        drawn = [row for row in known if row not in train]
        assert len(drawn) in ({int(wanted), min(int(wanted) + 1, len(known) - 1)} if enough else {0})
        assert validation.get(user) == ((kept, drawn) if drawn else None)
    assert train <= {row for row, window in enumerate(windows) if window == TRAINING}
    # a user's draw depends neither on the other users nor on the test file
    for user in set(users):
        mine = [place for place, owner in enumerate(users) if owner == user and windows[place] == TRAINING]
        if mine:
            alone = grouped_log([user] * len(mine))
            again = split_events(config, alone, min_user_events=least)
            assert {mine[row] for row in trained(alone, again)} == train & {*mine}


def test_users_with_few_events_are_queries_in_proportion_to_the_share() -> None:
    grouped = grouped_log([user for user in range(2_000) for _ in range(3)])
    split = split_events(SplitConfig(kind="given", validation_share=0.1), grouped, min_user_events=3)
    assert 0.27 < len(split.validation.user_rows) / 2_000 < 0.33
    assert split.validation.targets.sum() == len(split.validation.user_rows)  # one each


def test_the_draw_follows_the_seed_and_is_fair() -> None:
    grouped = grouped_log([user for user in range(2_000) for _ in range(10)])
    splits = [
        split_events(SplitConfig(kind="given", validation_share=0.2, seed=seed), grouped, min_user_events=3)
        for seed in (0, 0, 1)
    ]
    assert np.array_equal(splits[0].train, splits[1].train)
    held = [~split.train.reshape(-1, 10) for split in splits]
    assert (held[0].sum(axis=1) == 2).all()
    assert abs((held[0] & held[2]).sum() / 4_000 - 0.2) < 0.03  # independent: a fifth of a fifth is held by both
    assert np.abs(held[0].mean(axis=0) - 0.2).max() < 0.04  # five standard errors


def ordered_split() -> tuple[UserEvents, Split]:
    grouped = grouped_log([1, 1, 1, 2, 2, 2], [1, 2, 3, 1, 2, 3])
    return grouped, split_events(SplitConfig(), grouped, min_user_events=3)


def with_test(split: Split, history: list[list[int]], targets: list[list[int]]) -> Split:
    masks = (np.isin(np.arange(len(split.train)), np.concatenate(rows)) for rows in (history, targets))
    return Split(split.train, split.validation, Queries(np.arange(len(targets)), *masks), 0)


def test_the_point_in_time_check_passes_a_sound_split() -> None:
    grouped, split = ordered_split()
    check_point_in_time(split, grouped)
    check_point_in_time(with_test(split, [[0, 1], [3, 4]], [[2], [5]]), grouped)


@pytest.mark.parametrize(
    ("history", "targets", "what"),
    [
        ([[0, 1], [3, 5]], [[2], [4]], "1 histories do not end before their label"),
        ([[0, 1, 2], [3, 4, 5]], [[2], [5]], "2 histories do not end before their label"),
        ([[0], [3]], [[2, 1], [5]], None),
        ([[0, 2], [3]], [[2, 1], [5]], "1 histories do not end before their label"),
    ],
)
def test_an_input_after_its_label_fails_the_job(history: Any, targets: Any, what: str | None) -> None:
    grouped, split = ordered_split()
    broken = with_test(split, history, targets)
    if what is None:
        check_point_in_time(broken, grouped)
    else:
        with pytest.raises(ValueError, match=f"{what}: the data would leak the answer"):
            check_point_in_time(broken, grouped)


def test_training_on_or_after_a_label_fails_the_job() -> None:
    grouped, split = ordered_split()
    for place in (1, 2):  # the validation target, and the test target that follows it
        train = split.train.copy()
        train[place] = True
        with pytest.raises(ValueError, match="1 users train on an event that does not come before their label"):
            check_point_in_time(Split(train, split.validation, split.test, 0), grouped)


def test_events_out_of_order_fail_the_job() -> None:
    grouped, split = ordered_split()
    for swapped in ([1, 0, 2, 3, 4, 5], [0, 1, 2, 3, 5, 4]):
        with pytest.raises(ValueError, match=r"events are out of \(time, row\) order"):
            check_point_in_time(split, replace(grouped, log=grouped.log[swapped]))
    tied = grouped_log([1, 1, 1], [1, 1, 1])
    sound = split_events(SplitConfig(), tied, min_user_events=3)
    with pytest.raises(ValueError, match=r"events are out of \(time, row\) order"):
        check_point_in_time(sound, replace(tied, log=tied.log[[0, 2, 1]]))


def test_a_test_file_before_the_log_fails_the_job() -> None:
    grouped = grouped_log([1, 1, 1, 1], [1, 2, 3, 0], [TRAINING, TRAINING, TRAINING, TEST])
    with pytest.raises(ValueError, match="the test file must be later than the log"):
        split_events(SplitConfig(kind="given"), grouped, min_user_events=3)


def test_unordered_inputs_that_are_labels_fail_the_job() -> None:
    grouped = grouped_log([1, 1, 1, 1], None, [TRAINING, TRAINING, TRAINING, TEST])
    split = split_events(SplitConfig(kind="given", validation_share=0.4), grouped, min_user_events=3)
    check_point_in_time(split, grouped)
    with pytest.raises(ValueError, match="1 inputs are also their label"):
        check_point_in_time(with_test(split, [[0, 3]], [[3]]), grouped)
    with pytest.raises(ValueError, match="1 training events are also a label"):
        check_point_in_time(Split(np.ones(4, bool), with_test(split, [[0]], [[3]]).test, split.test, 0), grouped)


def test_a_shard_without_users_has_no_queries() -> None:
    grouped = grouped_log([], [])
    for kind in ("leave_one_out", "temporal", "given"):
        split = split_events(SplitConfig(kind=kind), grouped, min_user_events=3)
        assert (len(split.train), len(split.test.user_rows), split.num_few) == (0, 0, 0)
    split_events(SplitConfig(kind="given"), grouped_log([]), min_user_events=3)


def test_users_are_held_out_whole() -> None:
    users = [user for user in range(400) for _ in range(1 + user % 3)]
    config = SplitConfig(kind="users", test_share=0.3, validation_share=0.2)
    grouped = grouped_log(users)
    split = split_events(config, grouped, min_user_events=1, asks_without_history=True)
    tests, validation = query_rows(grouped, split.test), query_rows(grouped, split.validation)
    assert 90 < len(tests) < 150
    assert 50 < len(validation) < 110
    assert not tests.keys() & validation.keys()
    held_out = {user: [row for row, owner in enumerate(users) if owner == user] for user in tests | validation}
    assert tests | validation == {user: ([], rows) for user, rows in held_out.items()}
    assert trained(grouped, split) == set(range(len(users))) - {row for rows in held_out.values() for row in rows}
    with_few = split_events(config, grouped, min_user_events=3)
    assert {user % 3 for user in query_rows(grouped, with_few.test)} == {2}
    in_order = grouped_log(users, list(range(len(users))))
    ordered = split_events(config, in_order, min_user_events=1, asks_without_history=True)
    assert query_rows(in_order, ordered.test) == {user: (rows[:-1], rows[-1:]) for user, (_, rows) in tests.items()}


@pytest.mark.parametrize("kind", ["users", "given"])
def test_users_are_held_out_with_the_item_of_their_first_event(kind: Literal["users", "given"]) -> None:
    users = [*range(60), 0, 1]  # each has an item; 0 and 1 have two events of it
    windows = [TRAINING] * 50 + [TEST if kind == "given" else TRAINING] * 10 + [TRAINING] * 2
    grouped = grouped_log(users, None, windows)
    held_out = np.arange(len(users)) < 20
    config = SplitConfig(kind=kind, test="t" if kind == "given" else None, test_share=0.1, validation_share=0.1)
    without, split = (
        split_events(config, grouped, min_user_events=1, asks_without_history=True, held_out_items=items)
        for items in (None, held_out)
    )
    tests, validation = query_rows(grouped, split.test), query_rows(grouped, split.validation)
    assert tests == query_rows(grouped, without.test)
    drawn = query_rows(grouped, without.validation)
    assert validation == drawn | {
        user: ([], [user, *([60 + user] if user < 2 else [])]) for user in range(20) if user not in tests
    }
    assert trained(grouped, split) == trained(grouped, without) - {*range(20), 60, 61}


def test_users_of_a_given_test_file_need_no_history_where_columns_are_known() -> None:
    windows = [TRAINING] * 90 + [TEST] * 3
    users = [*range(60), *range(30), 0, 99, 100]
    for times in (None, list(range(93))):
        grouped = grouped_log(users, times, windows)
        config = SplitConfig(kind="given", test="t.parquet", validation_share=0.3)
        split = split_events(config, grouped, min_user_events=1, asks_without_history=True)
        assert query_rows(grouped, split.test) == {0: ([0, 60], [90]), 99: ([], [91]), 100: ([], [92])}
        held_out = query_rows(grouped, split.validation)
        without = {user: targets for user, (history, targets) in held_out.items() if not history}
        assert 5 < len(without) < 30
        if times is None:
            assert len(without) == len(held_out)
            assert without == {user: [row for row in range(90) if users[row] == user] for user in without}
        else:
            assert {user for user in range(30) if user} <= held_out.keys()
        before = split_events(config, grouped, min_user_events=1)
        assert query_rows(grouped, before.test).keys() == {0}


def test_a_temporal_query_needs_no_history_where_columns_are_known() -> None:
    grouped = grouped_log([0, 0, 1, 2], [1, 3, 3, 2], [TRAINING, TEST, TEST, VALIDATION])
    config = SplitConfig(kind="temporal")
    split = split_events(config, grouped, min_user_events=1, asks_without_history=True)
    assert query_rows(grouped, split.test) == {0: ([0], [1]), 1: ([], [2])}
    assert query_rows(grouped, split.validation) == {2: ([], [3])}
    assert query_rows(grouped, split_events(config, grouped, min_user_events=1).test) == {0: ([0], [1])}
