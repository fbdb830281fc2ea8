import math
import zlib
from datetime import date
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.history import (
    Jagged,
    as_lists,
    counting_sort,
    crc_of,
    factorize,
    flatten,
    group_events,
    in_order,
    rows_of,
    shard_of,
    stable_argsort,
)

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
    values, lengths = flatten(pl.Series(rows, dtype=pl.List(pl.Int64)))
    assert values.to_list() == [value for row in rows for value in row or []]
    assert lengths.tolist() == [len(row or []) for row in rows]
    again = as_lists(values, np.concatenate(([0], np.cumsum(lengths))), "x")
    assert again.to_list() == [row or [] for row in rows]


def test_rows_of_is_a_table() -> None:
    vocabulary = pl.Series(["b", "a", "c"])
    ids = pl.Series(["c", None, "b", "z", "c"])
    assert rows_of(ids, vocabulary).tolist() == [2, -1, 0, -1, 2]
    assert rows_of(ids, vocabulary, offset=1).tolist() == [3, 0, 1, 0, 3]
    assert rows_of(ids.head(0), vocabulary).dtype == np.int32
    assert rows_of(ids, vocabulary.head(0), offset=1).tolist() == [0] * 5


@pytest.mark.parametrize("span", [1, 1000], ids=["a table", "a join"])
@pytest.mark.parametrize("dtype", [pl.Int64, pl.UInt64, pl.Int32])
def test_integer_ids_of_any_type(dtype: Any, span: int) -> None:
    vocabulary = pl.Series([4, 0, 2]).cast(dtype) * span
    ids = pl.Series([2 * span, None, 5 * span, -1, 0, 3, 1 << 62, -(1 << 63)])
    assert rows_of(ids, vocabulary).tolist() == [2, -1, -1, -1, 1, -1, -1, -1]
    beyond = pl.Series([0, (1 << 64) - 1, 4 * span], dtype=pl.UInt64)
    assert rows_of(beyond, vocabulary, offset=1).tolist() == [2, 0, 1]
    assert rows_of(beyond, beyond.tail(2)).tolist() == [-1, 0, 1]


@pytest.mark.parametrize("ids", [
    pl.Series("x", [10, 9, 100, 9]), pl.Series("x", [10, 9, 100, 9, None]), pl.Series("x", [3, -1, 3, 2]),
    pl.Series("x", [-128, 127, 0, 127], dtype=pl.Int8), pl.Series("x", [1 << 63, (1 << 64) - 1, 0], dtype=pl.UInt64),
    pl.Series("x", [(1 << 64) - 1, (1 << 64) - 3, (1 << 64) - 1], dtype=pl.UInt64),
    pl.Series("x", [-(1 << 63), (1 << 63) - 1, 5, 5]), pl.Series("x", ["10", "9", "", "ä", "9", "a longer string"]),
    pl.Series("x", ["b", None, "a", "b"]),
])  # fmt: skip
def test_factorize_sorts_in_the_ids_own_type(ids: pl.Series) -> None:
    distinct, rows = factorize(ids)
    assert distinct.equals(ids.unique().sort(), check_dtypes=True)
    assert distinct.gather(rows).equals(ids)
    assert (distinct.name, rows.dtype) == ("x", np.int32)
    assert [len(part) for part in factorize(ids.head(0))] == [0, 0]


def test_strings_of_one_hash_stay_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = pl.Series("x", ["b", "a", "b", "c"])
    monkeypatch.setattr(pl.Series, "hash", lambda self: pl.Series([7, 7, 7, 8]))
    distinct, rows = factorize(ids)
    assert (distinct.to_list(), rows.tolist()) == (["a", "b", "c"], [1, 0, 1, 2])


def test_many_strings_are_found_as_few_are() -> None:
    vocabulary, ids = pl.Series(["b", "", "ä"]), pl.Series(["ä", None, "z", "b", ""] * 10)
    assert rows_of(ids, vocabulary).tolist() == [2, -1, -1, 0, 1] * 10
    assert rows_of(ids.head(5), vocabulary).tolist() == [2, -1, -1, 0, 1]


def test_shards_are_those_of_every_release() -> None:
    ids = pl.Series([1, 2, 3, 4, 1, 10**12])
    assert crc_of(ids).tolist() == [zlib.crc32(str(one).encode()) for one in ids]
    assert shard_of(ids, 4).to_list() == [3, 1, 3, 0, 3, 0]
    assert shard_of(ids.cast(pl.String), 4).to_list() == [3, 1, 3, 0, 3, 0]
    assert shard_of(ids.cast(pl.UInt64), 1).to_list() == [0] * 6
    assert shard_of(ids.head(0), 4).to_list() == []


@quick
@given(st.lists(st.integers(0, 2), max_size=12), st.sampled_from([
    np.array([0, 1, 2], np.int8), np.array([0, 1, 2], np.uint32), np.array([-5, 3, 1 << 40]),
    np.array([-(1 << 62), 0, 1 << 62]), np.array([0, 1 << 63, (1 << 64) - 1], np.uint64),
    np.array([(1 << 64) - 3, (1 << 64) - 2, (1 << 64) - 1], np.uint64),
]))  # fmt: skip
def test_argsort_is_stable_whatever_fits_into_one_number(drawn: list[int], times: Any) -> None:
    found = stable_argsort(times[np.array(drawn, np.int64)])
    assert found.tolist() == sorted(range(len(drawn)), key=lambda row: drawn[row])
    assert found.dtype == np.int64


@quick
@given(st.lists(st.sampled_from([0, 1, 255, 65_535, 65_536, 65_537, (1 << 31) - 1]), max_size=12), st.randoms())
def test_counting_keeps_what_stands(codes: list[int], random: Any) -> None:
    order = random.sample(range(len(codes)), len(codes))
    found = counting_sort(np.array(codes, np.int32), np.array(order, np.int64))
    assert found.tolist() == sorted(order, key=lambda row: codes[row])
    found = counting_sort(np.array(codes, np.int32), None)
    assert found.tolist() == sorted(range(len(codes)), key=lambda row: codes[row])


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
    grouped = group_events(in_order(log), pl.Series(["a", "b", "c", "d"]))
    assert grouped.user_ids.to_list() == ["abcd"[user] for user in expected]
    assert grouped.log.schema == log.schema
    assert [grouped.items[user].tolist() for user in range(len(expected))] == [
        [100 + row for row in mine] for mine in expected.values()
    ]
    assert grouped.log["row"].to_list() == [row for mine in expected.values() for row in mine]
    unordered = in_order(log.drop("time"))["row"].to_list()
    assert unordered == [row for user in expected for row, owner, _, _ in sorted(rows) if owner == user]
