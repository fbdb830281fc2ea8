import math
from datetime import date
from typing import Any

import numpy as np
import polars as pl
from hypothesis import given, settings, strategies as st

from recsys.data.history import counting_sort, group_events, sort_events, stable_argsort

quick = settings(max_examples=80, deadline=None)


@quick
@given(st.lists(st.integers(0, 2), max_size=12), st.sampled_from([
    np.array([0, 1, 2], np.int8), np.array([0, 1, 2], np.uint32), np.array([-5, 3, 1 << 40]),
    np.array([-(1 << 62), 0, 1 << 62]), np.array([0, 1 << 63, (1 << 64) - 1], np.uint64),
    np.array([(1 << 64) - 3, (1 << 64) - 2, (1 << 64) - 1], np.uint64),
]))  # fmt: skip
def test_argsort_is_stable_whether_or_not_time_and_row_fit_in_one_number(drawn: list[int], times: Any) -> None:
    found = stable_argsort(times[np.array(drawn, np.int64)])
    assert found.tolist() == sorted(range(len(drawn)), key=lambda row: drawn[row])


@quick
@given(st.lists(st.sampled_from([0, 1, 255, 65_535, 65_536, 65_537, 200_000]), max_size=12), st.randoms())
def test_counting_sort_is_stable(codes: list[int], random: Any) -> None:
    order = random.sample(range(len(codes)), len(codes))
    order_by_code, sorted_codes = counting_sort(np.array(codes, np.int32), np.array(order, np.int32))
    assert order_by_code.tolist() == sorted(order, key=lambda row: codes[row])
    assert sorted_codes.tolist() == sorted(codes)
    order_by_code, sorted_codes = counting_sort(np.array(codes, np.int32), None)
    assert order_by_code.tolist() == sorted(range(len(codes)), key=lambda row: codes[row])
    assert sorted_codes.tolist() == sorted(codes)


CLOCKS: list[Any] = [
    [1, 2, 3],
    pl.Series([0, 1 << 63, (1 << 64) - 1], dtype=pl.UInt64),
    pl.Series([1, 2, 3], dtype=pl.Int128),
    ["a", "b", "c"],
    [date(2020, 1, day) for day in (1, 2, 3)],
    [-math.inf, 0.5, 1.5],
]


@quick
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), max_size=15), st.sampled_from(CLOCKS), st.randoms())
def test_events_are_grouped_by_user_then_time_then_row(
    events: list[tuple[int, int]], clock: list[Any], random: Any
) -> None:
    rows = [(row, user, 100 + row, clock[time]) for row, (user, time) in enumerate(events)]
    expected = {
        user: [row for row, owner, _, _ in sorted(rows, key=lambda event: (event[3], event[0])) if owner == user]
        for user in sorted({user for user, _ in events})
    }
    random.shuffle(rows)  # a join or a hash partition may hand them over in any order
    schema = {"row": pl.UInt32, "user_id": pl.Int32, "item_id": pl.Int32, "time": pl.Series(clock).dtype}
    log = pl.DataFrame(rows, schema=schema, orient="row")
    grouped = group_events(sort_events(log.to_dict()), pl.Series(["a", "b", "c", "d"]))
    assert grouped.user_ids.to_list() == ["abcd"[user] for user in expected]
    assert grouped.log.schema == log.schema
    assert [grouped.items[user].tolist() for user in range(len(expected))] == [
        [100 + row for row in mine] for mine in expected.values()
    ]
    assert grouped.log["row"].to_list() == [row for mine in expected.values() for row in mine]
    unordered = sort_events(log.drop("time").to_dict())["row"].to_list()
    assert unordered == [row for user in expected for row, owner, _, _ in sorted(rows) if owner == user]
