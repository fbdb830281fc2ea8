import math
from datetime import date
from typing import Any

import numpy as np
import polars as pl
from hypothesis import given, settings, strategies as st

from recsys.data.history import counting_sort, group_events, sort_events, stable_argsort
from recsys.data.jagged import Jagged, as_list_column, flatten_lists

ROWS = st.lists(st.lists(st.integers(-9, 9), max_size=5), max_size=6)
quick = settings(max_examples=80, deadline=None)


def listed(jagged: Jagged) -> list[list[int]]:
    return [jagged[row].tolist() for row in range(len(jagged))]


@quick
@given(ROWS)
def test_rows_go_in_and_out(rows: list[list[int]]) -> None:
    jagged = Jagged.from_rows(rows)
    assert listed(jagged) == rows
    assert jagged.values.dtype == np.int32
    assert jagged.offsets.dtype == np.int64
    assert jagged.lengths.tolist() == [len(row) for row in rows]
    assert jagged.row_of_value.tolist() == [place for place, row in enumerate(rows) for _ in row]
    assert jagged.to_series("x").to_list() == rows
    assert listed(Jagged.from_lengths(jagged.values, jagged.lengths)) == rows


@quick
@given(ROWS, st.data())
def test_take_against_lists(rows: list[list[int]], data: st.DataObject) -> None:
    picked = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=8)) if rows else []
    for dtype in (np.int32, np.int64):
        assert listed(Jagged.from_rows(rows).take(np.array(picked, dtype))) == [rows[row] for row in picked]


@quick
@given(ROWS, st.integers(-9, 9), st.integers(0, 6))
def test_keep_and_tail_against_lists(rows: list[list[int]], bound: int, length: int) -> None:
    jagged = Jagged.from_rows(rows)
    assert listed(jagged.keep(jagged.values > bound)) == [[value for value in row if value > bound] for row in rows]
    assert listed(jagged.tail(length)) == [row[max(0, len(row) - length) :] for row in rows]


@quick
@given(ROWS, st.integers(0, 6))
def test_padded_against_lists(rows: list[list[int]], least: int) -> None:
    width = max([least, *map(len, rows)])
    padded = Jagged.from_rows(rows).padded(-7, least=least)
    assert padded.shape == (len(rows), width)
    assert padded.tolist() == [row + [-7] * (width - len(row)) for row in rows]


@quick
@given(ROWS, ROWS, st.data())
def test_from_series_of_any_layout(first: list[list[int]], second: list[list[int]], data: st.DataObject) -> None:
    parts = [pl.Series("x", rows, dtype=pl.List(pl.Int32)) for rows in (first, second)]
    chunked = parts[0].append(parts[1])
    start = data.draw(st.integers(0, len(chunked)))
    length = data.draw(st.integers(0, len(chunked) - start))
    expected = (first + second)[start : start + length]
    assert listed(Jagged.from_series(chunked.slice(start, length))) == expected
    assert listed(Jagged.from_series(chunked.slice(start, length).reverse())) == expected[::-1]


def test_one_chunk_is_viewed_not_copied() -> None:
    jagged = Jagged.from_rows([[1, 2], [3]])
    assert np.shares_memory(Jagged.from_series(jagged.to_series("x")).values, jagged.values)


LISTS = st.lists(st.one_of(st.none(), st.lists(st.one_of(st.none(), st.integers(0, 9)), max_size=4)), max_size=6)


@quick
@given(LISTS)
def test_flatten_takes_a_null_row_as_empty(rows: list[list[int | None] | None]) -> None:
    values, lengths = flatten_lists(pl.Series(rows, dtype=pl.List(pl.Int64)))
    assert values.to_list() == [value for row in rows for value in row or []]
    assert lengths.tolist() == [len(row or []) for row in rows]
    again = as_list_column(values, np.concatenate(([0], np.cumsum(lengths))), "x")
    assert again.to_list() == [row or [] for row in rows]


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
