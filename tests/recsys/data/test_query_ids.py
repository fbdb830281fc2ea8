"""Ids as callers give them."""

import math

import numpy as np
import polars as pl
import pytest

from recsys.data.query_ids import id_lists, id_series, lookup_user_rows


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["a", None, math.nan], ["a", None, None]),
        (("a", "b"), ["a", "b"]),
        (np.array([1, 2], np.int16), [1, 2]),
        (pl.Series([7]), [7]),
        ([], []),
        ([None], [None]),
    ],
)
def test_a_list_of_ids(given, expected):
    assert id_series(given, "item").to_list() == expected


@pytest.mark.parametrize("given", ["abc", 5, ["a", 1], [1, "a"]])
def test_no_list_of_ids(given):
    with pytest.raises(ValueError, match=r"^item ids are .*; expected (a list of ids|one type)$"):
        id_series(given, "item")


@pytest.mark.parametrize(
    "given",
    [
        [[1, 2], [], [3]], [(1, 2), np.array([], np.int8), np.array([3], np.int64)], pl.Series([[1, 2], [], [3]]),
        [pl.Series([1, 2]), [], [3]], iter([[1, 2], [], [3]]),
    ],
)  # fmt: skip
def test_lists_of_ids(given):
    flat, lengths = id_lists(given, pl.Int64())
    assert (flat.to_list(), lengths.tolist()) == ([1, 2, 3], [2, 0, 1])


def test_a_missing_id_in_a_list():
    assert id_lists([[1, math.nan, None]], pl.Int64())[0].to_list() == [1, None, None]


@pytest.mark.parametrize("given", [["a"], [["a"]], [[1], ["a"]], [[1.5]], "a", 5, [5], pl.Series([1])])
def test_no_lists_of_ids(given):
    with pytest.raises(ValueError, match=r"histor(y|ies)") as raised:
        id_lists(given, pl.Int64())
    assert "\n" not in str(raised.value)


def test_an_error_stays_short():
    with pytest.raises(ValueError, match="histories hold") as raised:
        id_lists([["a"] * 10_000], pl.Int64())
    assert len(str(raised.value)) < 200


def test_rows_of_users_count_from_one():
    known = pl.Series(["a", "b"])
    assert lookup_user_rows(pl.Series(["b", "x", None, "a"]), known).tolist() == [2, 0, 0, 1]
    assert lookup_user_rows(pl.Series([None]), known).tolist() == [0]
    for odd in ([1], [1.5], [True], [object()]):
        with pytest.raises(ValueError, match=r"user ids are \w+; the model was trained on String: cast them"):
            lookup_user_rows(pl.Series(odd), known)
    with pytest.raises(ValueError, match="user ids are String; the model was trained on Int64: cast them"):
        lookup_user_rows(known, pl.Series([1]))
    assert lookup_user_rows(pl.Series(["b"], dtype=pl.Categorical), known).tolist() == [2]
