import numpy as np
import polars as pl
from hypothesis import given, settings, strategies as st

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


def test_rows_are_stacked_and_joined():
    upper, lower = Jagged.from_rows([[1, 2], [], [3]]), Jagged.from_rows([[], [4], [5, 6]])
    stacked, joined = upper.stacked(lower), upper.then(lower)
    assert [stacked[row].tolist() for row in range(6)] == [[1, 2], [], [3], [], [4], [5, 6]]
    assert [joined[row].tolist() for row in range(3)] == [[1, 2], [4], [3, 5, 6]]
    nothing = Jagged.from_rows([])
    assert len(nothing.then(nothing)) == 0
