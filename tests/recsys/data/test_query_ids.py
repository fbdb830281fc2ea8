"""Ids as callers pass them."""

import math

import numpy as np
import pandas as pd
import polars as pl
import pytest

from recsys.data.column_types import has_blanks
from recsys.data.query_ids import UserIds, id_lists, id_series, lookup_user_rows


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        (["a", None, math.nan], ["a", None, None]),
        (("a", "b"), ["a", "b"]),
        (np.array([1, 2], np.int16), [1, 2]),
        (pl.Series([7]), [7]),
        ([], []),
        ([None], [None]),
        (["a", pd.NA, "", "  ", pd.NaT, np.float32("nan")], ["a", None, None, None, None, None]),
        ([1, pd.NA, math.nan], [1, None, None]),
        (pd.Series([1, None], dtype="Int64"), [1, None]),
        (pl.Series(["a", "", "\u00a0"]), ["a", None, None]),
        (np.array(["a", ""]), ["a", None]),
    ],
)
def test_ids_of_any_form_become_a_column(ids, expected):
    assert id_series(ids, "item").to_list() == expected


@pytest.mark.parametrize("ids", ["abc", 5, ["a", 1], [1, "a"]])
def test_what_is_no_list_of_ids_of_one_type_is_refused(ids):
    with pytest.raises(ValueError, match=r"^item ids are .*; expected (a list of ids|one type)$"):
        id_series(ids, "item")


@pytest.mark.parametrize(
    "histories",
    [
        [[1, 2], [], [3]], [(1, 2), np.array([], np.int8), np.array([3], np.int64)], pl.Series([[1, 2], [], [3]]),
        [pl.Series([1, 2]), [], [3]], iter([[1, 2], [], [3]]),
    ],
)  # fmt: skip
def test_histories_of_any_form_become_one_column_and_lengths(histories):
    flat, lengths = id_lists(histories, pl.Int64())
    assert (flat.to_list(), lengths.tolist()) == ([1, 2, 3], [2, 0, 1])


def test_missing_ids_become_null():
    assert id_lists([[1, math.nan, None]], pl.Int64())[0].to_list() == [1, None, None]


@pytest.mark.parametrize("histories", [["a"], [["a"]], [[1], ["a"]], [[1.5]], "a", 5, [5], pl.Series([1])])
def test_what_are_no_lists_of_such_ids_is_refused(histories):
    with pytest.raises(ValueError, match=r"histor(y|ies)") as raised:
        id_lists(histories, pl.Int64())
    assert "\n" not in str(raised.value)


def test_an_error_is_short_however_long_the_history():
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


def test_what_programs_write_for_a_missing_id_is_missing_everywhere():
    missing = ["", " \t", "\u200b\ufeff", "\0", "nan", "NaN", "NaT", "None", "<NA>", "null", "NULL", "\\N"]
    present = ["a", "Null", "nano", "NA", "none", "-", "\u200ba", "0", "\\n"]
    for ids in (missing + present, pl.Series(missing + present)):
        assert id_series(ids, "item").to_list() == [None] * len(missing) + present
    assert not has_blanks(pl.Series(present))


def test_blank_ids_in_histories_are_missing():
    for histories in ([["a", "", pd.NA], []], pl.Series([["a", " ", None], []])):
        ids, lengths = id_lists(histories, pl.String())
        assert ids.to_list() == ["a", None, None]
        assert lengths.tolist() == [3, 0]


@pytest.mark.parametrize("kind", ["text", "integers"])
def test_a_few_users_are_found_as_many_are(kind):
    """In ids of any order; at the ends, between, beyond, missing, and of another width."""
    numbers = np.random.default_rng(0).permutation(3_000)[:2_000] * 3
    known = (
        pl.Series(numbers) if kind == "integers" else pl.Series([f"u{number} \u00e9\U0001f600" for number in numbers])
    )
    asked = pl.concat(
        [known.gather([1_999, 5, 0, 77]), known.sort().gather([0, -1]), pl.Series([None], dtype=known.dtype)]
    )
    strangers = pl.Series([-5, 10**9, 4]) if kind == "integers" else pl.Series(["", "zz", "u5"])
    asked = pl.concat([asked, strangers])
    for ids in (known, known.sort()):
        users = UserIds(ids)
        expected = lookup_user_rows(asked, ids)
        assert (expected > 0).sum() == 6
        assert users.rows(asked).tolist() == expected.tolist()
        assert users.rows(pl.concat([asked] * 120)).tolist() == expected.tolist() * 120
    assert UserIds(known.head(0)).rows(asked).tolist() == [0] * len(asked)
    if kind == "integers":
        assert UserIds(known.cast(pl.Int16)).rows(asked).tolist() == lookup_user_rows(asked, known).tolist()
    with pytest.raises(ValueError, match="cast them to match"):
        UserIds(known).rows(pl.Series([1.5]))
