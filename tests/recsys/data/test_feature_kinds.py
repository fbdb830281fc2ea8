import math
import zlib
from datetime import date
from typing import Any, get_args

import numpy as np
import polars as pl
import pytest

from recsys.config import FeatureConfig, FeatureKind
from recsys.data.feature_kinds import KINDS, MAX_BUCKETS, MIN_BUCKETS, Transform, fit_feature


def fitted(kind: Any, values: list[Any] | pl.Series, dtype: Any = None) -> Transform:
    column = values if isinstance(values, pl.Series) else pl.Series("x", values, dtype=dtype)
    return fit_feature(FeatureConfig(name="x", kind=kind), column)


def test_every_kind_that_a_config_may_name_is_in_the_table() -> None:
    assert set(KINDS) == set(get_args(FeatureKind))


def test_categorical() -> None:
    transform = fitted("categorical", ["b", None, "a", "b", ""])
    assert transform.vocabulary == ("", "a", "b")
    assert transform.size == 4
    encoded = transform.encode(pl.Series(["b", None, "unseen", "", "a"]))
    assert encoded.to_list() == [[3], [0], [0], [1], [2]]
    assert encoded.dtype == pl.List(pl.Int32)


@pytest.mark.parametrize(
    "values", [[3, 1, None], [True, False, None], [date(2020, 1, 2), date(2020, 1, 1), None], [0.5, 0.25, None]]
)
def test_categories_of_any_flat_type(values: list[Any]) -> None:
    column = pl.Series("x", values)
    assert fitted("categorical", column).encode(column).to_list() == [[2], [1], [0]]
    assert fitted("categorical", pl.Series("x", ["b", "a", None], dtype=pl.Categorical)).vocabulary == ("a", "b")


def test_whole_numbers_are_one_category_as_integers_and_as_floats() -> None:
    whole, holed = pl.Series("x", [25, 3, 25]), pl.Series("x", [25.0, None, float("nan"), 3.0, 2.5])
    for transform in (fitted("categorical", whole), fitted("categorical", holed)):
        assert transform.encode(whole).to_list() == transform.encode(whole.cast(pl.Float32)).to_list()
        assert {"25", "3"} <= set(transform.vocabulary)
        assert [len(row) for row in transform.encode(holed)[1:3]] == [1, 1]
    assert fitted("categorical", holed).vocabulary == ("2.5", "25", "3")
    assert fitted("categorical", holed).encode(holed).to_list() == [[2], [0], [0], [3], [1]]
    lists = pl.Series("x", [[1, 2], [2]])
    transform = fitted("multi_categorical", lists)
    assert transform.encode(lists.cast(pl.List(pl.Float64))).to_list() == transform.encode(lists).to_list()


def test_multi_categorical_with_empty_and_null_lists() -> None:
    rows = [["b", "a"], [], None, ["a", None, "unseen", "a"]]
    transform = fitted("multi_categorical", rows[:3])
    assert transform.vocabulary == ("a", "b")
    assert transform.encode(pl.Series(rows)).to_list() == [[2, 1], [], [], [1, 1]]
    fixed = pl.Series("x", [[2, 1], [1, 1]], dtype=pl.Array(pl.Int64, 2))
    assert fitted("multi_categorical", fixed).encode(fixed).to_list() == [[2, 1], [1, 1]]
    nothing = pl.Series("x", [[], None], dtype=pl.List(pl.String))
    assert fitted("multi_categorical", nothing).encode(nothing).to_list() == [[], []]


def test_numeric_is_standardised_and_flags_what_is_no_number() -> None:
    values = [1.0, 3.0, None, math.nan, math.inf, -math.inf]
    transform = fitted("numeric", values)
    assert (transform.mean, transform.scale, transform.size) == (2.0, 1.0, 2)
    encoded = transform.encode(pl.Series(values))
    assert encoded.dtype == pl.Array(pl.Float32, 2)
    assert encoded.to_list() == [[-1, 0], [1, 0], [0, 1], [0, 1], [0, 1], [0, 1]]
    assert transform.encode(pl.Series([4, None])).to_list() == [[2, 0], [0, 1]]
    assert transform.encode(pl.Series([], dtype=pl.Int8)).to_list() == []


@pytest.mark.parametrize("value", [0.1, 0.0, 7.0, 1e9 + 0.1])
def test_a_constant_number_has_no_scale(value: float) -> None:
    transform = fitted("numeric", [value] * 10)
    assert transform.scale == 1.0
    assert np.allclose(transform.encode(pl.Series([value, value + 1])).to_numpy()[:, 0], [0, 1], atol=1e-6)


@pytest.mark.parametrize("values", [[None, None], [math.nan], []])
def test_a_column_without_numbers_is_all_missing(values: list[float | None]) -> None:
    transform = fitted("numeric", pl.Series("x", values, dtype=pl.Float64))
    assert (transform.mean, transform.scale) == (0.0, 1.0)
    assert transform.encode(pl.Series([None, 2.0])).to_list() == [[0, 1], [2, 0]]


def test_text_rows_are_those_of_every_release() -> None:
    transform = fitted("text", ["The cat", "a CAT!", "", None])
    assert transform.size == MIN_BUCKETS
    cat, the = 936, 486  # a bundle's text table is indexed by these
    encoded = transform.encode(pl.Series(["The  cat, THE", "", None, "...", "straße"]))
    assert encoded.dtype == pl.List(pl.Int32)
    assert encoded.to_list()[:4] == [[the, cat, the], [], [], []]
    tokens = ["straße", "#stra", "#traß", "#raße"]
    assert encoded.to_list()[4] == [zlib.crc32(token.encode()) % MIN_BUCKETS for token in tokens]


def test_a_word_is_encoded_alike_wherever_it_stands() -> None:
    transform = fitted("text", ["alpha beta"])
    alone = {word: transform.encode(pl.Series([word])).to_list()[0] for word in ("alpha", "beta", "gamma")}
    assert transform.encode(pl.Series(["gamma alpha beta"])).to_list()[0] == [
        *alone["gamma"],
        *alone["alpha"],
        *alone["beta"],
    ]


def test_text_tables_grow_with_the_words() -> None:
    words = [" ".join(f"w{number:03d}" for number in range(start, start + 100)) for start in range(0, 1_000, 100)]
    assert fitted("text", words).size == 2048
    assert fitted("text", [" ".join(map(str, range(80_000)))]).size == MAX_BUCKETS


def test_vectors() -> None:
    transform = fitted("vector", [[1.0, 2.0], None])
    assert transform.size == 2
    encoded = transform.encode(
        pl.Series([[1, 2], None, [math.nan, math.inf], [None, 1e300]], dtype=pl.List(pl.Float64))
    )
    assert encoded.to_list() == [[1, 2], [0, 0], [0, 0], [0, 0]]
    assert encoded.dtype == pl.Array(pl.Float32, 2)
    fixed = pl.Series("x", [[1, 2, 3]], dtype=pl.Array(pl.Int64, 3))
    assert fitted("vector", fixed).encode(fixed).to_list() == [[1, 2, 3]]
    nothing = pl.Series("x", [None], dtype=pl.List(pl.Float32))
    assert fitted("vector", nothing).encode(nothing).to_list() == [[0]]


@pytest.mark.parametrize("other", [[1.0], [], [1.0, 2.0, 3.0]])
def test_vectors_of_another_length_are_refused(other: list[float]) -> None:
    with pytest.raises(
        ValueError, match=f"feature 'x' has a vector of {len(other)} numbers beside those of 2; expected"
    ):
        fitted("vector", [[1.0, 2.0]]).encode(pl.Series([[1.0, 2.0], other]))
    column = pl.Series("x", [[1.0, 2.0], other, [1.0, 2.0]])
    with pytest.raises(ValueError, match="feature 'x' has a vector of"):
        fitted("vector", column).encode(column)


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("categorical", [["a"]]), ("categorical", [{"a": 1}]), ("multi_categorical", ["a"]),
        ("multi_categorical", [[["a"]]]), ("numeric", ["1"]), ("numeric", [True]), ("numeric", [[1.0]]),
        ("text", [1]), ("text", [["a"]]), ("vector", [1.0]), ("vector", [["a"]]), ("vector", ["1,2"]),
    ],
)  # fmt: skip
def test_a_column_of_another_type_is_refused(kind: str, values: list[Any]) -> None:
    with pytest.raises(ValueError, match=rf"feature 'x' is of kind '{kind}' but its column is .*; expected .*: choose"):
        fitted(kind, values)


@pytest.mark.parametrize("kind", ["categorical", "numeric", "text"])
def test_a_column_of_nulls_is_missing(kind: str) -> None:
    column = pl.Series("x", [None, None])
    missing = {"categorical": [0], "numeric": [0, 1], "text": []}[kind]
    assert fitted(kind, column).encode(column).to_list() == [missing, missing]
