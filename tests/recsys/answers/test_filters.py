"""Conditions on item columns."""

import math
from datetime import date

import numpy as np
import polars as pl
import pytest

from recsys.answers import passing
from recsys.errors import InputError

ITEMS = pl.DataFrame({
    "item_id": ["a", "b", "c"],
    "year": [1.0, None, math.nan],
    "pages": [1, 2, 3],
    "tags": [["x"], ["y", "x"], None],
})  # fmt: skip


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ([], "abc"),
        ([("pages", "==", 2)], "b"),
        ([("pages", "!=", 2)], "ac"),
        ([("pages", "<", 2)], "a"),
        ([("pages", "<=", 2)], "ab"),
        ([("pages", ">", 2)], "c"),
        ([("pages", ">=", 2), ("pages", "<", 3)], "b"),
        ([("pages", "in", {3, 9})], "c"),
        ([("pages", "in", [])], ""),
        ([("item_id", "in", ("a", "c"))], "ac"),
        ([("tags", "contains", "x")], "ab"),
        ([["pages", "==", 2]], "b"),
    ],
)
def test_operators(where, expected):
    assert ITEMS.filter(passing(ITEMS, where))["item_id"].to_list() == list(expected)


@pytest.mark.parametrize(
    "condition", [("year", ">=", 0), ("year", "!=", 7), ("year", "<", 9), ("tags", "contains", "z")]
)
def test_no_condition_holds_for_a_missing_value(condition):
    assert not passing(ITEMS, [condition])[1:].drop_nulls().any()
    assert len(passing(ITEMS, [condition]).drop_nulls()) == 3


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ([("colour", "==", 1)], "no column 'colour'; the items have item_id, year, pages, tags"),
        ([("pages", "~", 1)], "no operator '~'; there are ==, !="),
        ([("pages", ">", "1")], "does not fit the column's type, Int64"),
        ([("pages", "==", [1, 2])], "expected plain values"),
        ([("pages", "in", ["a"])], "does not fit the column's type, Int64"),
        ([("pages", "==", None)], "items without a value never pass"),
        ([("pages", "in", 3)], "expected a list of values"),
        ([("item_id", "in", "abc")], "expected a list of values"),
        ([("pages", "contains", 1)], "does not fit the column's type, Int64"),
        (("year", ">=", 1950), "expected a list of \\(column, operator, value\\)"),
        ([("year", 1950)], "expected a list of \\(column, operator, value\\)"),
        ("year", "expected a list of \\(column, operator, value\\)"),
        (5, "expected a list of \\(column, operator, value\\)"),
    ],
)
def test_a_bad_condition_is_one_clear_line(where, message):
    with pytest.raises(ValueError, match=message) as raised:
        passing(ITEMS, where)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "where",
    [5, "year", {"year": 1}, [5], [("year", "==")], [("year", 1, 2)], [(pl.col("year"), "==", 1)],
     [("year", "==", pl.col("year"))], [("year", "in", [pl.col("year")])], [("year", "==", [1])],
     [("year", "==", {"a": 1})], [("year", "in", {"a": 1})], [("year", "==", 10**400)], [("year", "==", object())]],
)  # fmt: skip
def test_odd_conditions_are_one_line(where):
    with pytest.raises(InputError) as refused:
        passing(pl.DataFrame({"year": [1, 2, None]}), where)
    assert "\n" not in str(refused.value)


def test_any_iterable_of_conditions_and_numpy_values_work():
    items = pl.DataFrame({"year": [1, 2, None]})
    assert passing(items, iter([("year", "==", np.int64(2))])).to_list() == [False, True, False]
    assert passing(items, [["year", "in", np.array([1, 2])]]).to_list() == [True, True, False]
    assert passing(items, (c for c in [("year", "in", {1})])).to_list() == [True, False, False]


@pytest.mark.parametrize("name", ["^t.*$", "*", "^.*$"])
def test_a_column_that_looks_like_a_pattern_is_a_name(name):
    items = pl.DataFrame({name: [1, 2], "tag": [2, 2]})
    assert passing(items, [(name, "==", 2)]).to_list() == [False, True]


TREE_ITEMS = pl.DataFrame({
    "brand": ["acme", "bolt", None, "acme", "Acme"], "price": [1.0, 5.0, 9.0, float("nan"), 3.0],
    "title": ["Red mug", "Blue mug", "Red lamp", None, "red MUG (50%)"], "tags": [["a"], ["a", "b"], [], None, ["c"]],
})  # fmt: skip


@pytest.mark.parametrize(
    ("where", "rows"),
    [
        ({"or": [("brand", "==", "acme"), ("price", ">", 8)]}, [0, 2, 3]),
        ({"not": ("brand", "==", "acme")}, [1, 2, 4]),
        ({"and": [{"not": ("brand", "==", "acme")}, ("price", "<", 6)]}, [1, 4]),
        ([{"or": [["brand", "in", ["bolt"]], ["tags", "contains", "c"]]}, ["price", ">=", 3]], [1, 4]),
        ({"or": [[("brand", "==", "acme"), ("price", "<", 2)], {"not": {"not": ("price", "==", 9)}}]}, [0, 2]),
        ([("title", "contains", "mug")], [0, 1]),
        ([("title", "contains", "(50%)")], [4]),
        ([("title", "contains", "R.d")], []),
        ([("title", "starts_with", "Red")], [0, 2]),
        ({"not": ("title", "contains", "mug")}, [2, 3, 4]),
        ({"and": [("price", ">=", 3), ("price", "<=", 5)]}, [1, 4]),
    ],
)
def test_a_tree_of_conditions(where, rows):
    assert passing(TREE_ITEMS, where).arg_true().to_list() == rows


def repr_of(where):
    return "long" if isinstance(where, dict) and "not" in where else None


def nested(depth):
    tree = ("price", ">", 1)
    for _ in range(depth):
        tree = {"not": tree}
    return tree


def shared(depth, width):
    """A tree of few objects, that stand in many places: counting all of them would not end."""
    tree = ("price", ">", 1)
    for _ in range(depth):
        tree = {"and": [tree] * width}
    return tree


@pytest.mark.parametrize(
    "where",
    [
        {"xor": [("price", ">", 1)]}, {}, {"and": []}, {"or": ("price", ">", 1)}, {"not": None}, {"not": []},
        {"and": [("price", ">", 1)], "or": [("price", ">", 1)]}, {"and": ["price", ">", 1]}, {"and": [1]}, {1: []},
        [("price", "starts_with", "1")], [("title", "contains", 5)], nested(11), {"not": [[[[[[[[[[[1]]]]]]]]]]]},
        {"or": [("price", ">", 1)] * 201}, nested(900), {"and": [[]] * 201}, shared(10, 8),
    ],
    ids=repr_of,
)  # fmt: skip
def test_a_bad_tree_is_one_short_line(where):
    with pytest.raises(InputError, match="where") as raised:
        passing(TREE_ITEMS, where)
    assert len(str(raised.value)) < 500
    assert "\n" not in str(raised.value)


def test_shallow_trees_pass():
    assert passing(TREE_ITEMS, nested(10)).arg_true().to_list() == [1, 2, 4]


@pytest.mark.parametrize(
    ("dtype", "operator", "value", "rows"),
    [
        (pl.Date, ">=", "2024-06-01", [1, 2]),
        (pl.Date, "in", ["2024-06-01", "2030-01-01"], [1]),
        (pl.Datetime("us"), ">", "2024-06-01", [2]),
        (pl.Datetime("ms"), "<", "2024-06-01T01:00:00+02:00", [0]),
        (pl.Datetime("us", "Europe/Paris"), "==", "2024-06-01T00:00:00", [1]),
        (pl.Datetime("us", "Europe/Paris"), "<=", "2024-06-01T02:00:00+02:00", [0, 1]),
    ],
)
def test_a_time_may_be_text(dtype, operator, value, rows):
    days = pl.Series([date(2024, 1, 1), date(2024, 6, 1), date(2025, 1, 1), None])
    days = days if dtype == pl.Date else days.cast(pl.Datetime(dtype.time_unit, None))
    days = days if dtype == pl.Date or dtype.time_zone is None else days.dt.replace_time_zone("UTC").cast(dtype)
    items = pl.DataFrame({"day": days})
    assert passing(items, [["day", operator, value]]).arg_true().to_list() == rows
    with pytest.raises(InputError, match="does not fit"):
        passing(items, [["day", "<", "tomorrow"]])
