import math
import zlib
from datetime import date
from typing import Any, get_args

import numpy as np
import polars as pl
import pytest

from recsys import hashed_words
from recsys.config import FeatureConfig, FeatureKind
from recsys.data import feature_kinds
from recsys.data.feature_kinds import KINDS, Transform, fit_feature
from recsys.hashed_words import MAX_BUCKETS, MIN_BUCKETS


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
    assert transform.encode(pl.Series([2.0, None, 4.0, -9e300])).to_list() == [[0, 0], [0, 1], [1, 0], [-1, 0]]
    assert transform.count_clipped(pl.Series([2.0, None, 4.0, -9e300, math.inf])) == 2
    assert transform.encode(pl.Series([], dtype=pl.Int8)).to_list() == []


@pytest.mark.parametrize("value", [0.1, 0.0, 7.0, 1e9 + 0.1])
def test_a_constant_number_has_no_scale(value: float) -> None:
    transform = fitted("numeric", [value] * 10)
    assert transform.scale == 1.0
    assert np.allclose(transform.encode(pl.Series([value, value + 1])).to_numpy()[:, 0], [0, 0], atol=1e-6)


@pytest.mark.parametrize("values", [[None, None], [math.nan], []])
def test_a_column_without_numbers_is_all_missing(values: list[float | None]) -> None:
    transform = fitted("numeric", pl.Series("x", values, dtype=pl.Float64))
    assert (transform.mean, transform.scale) == (0.0, 1.0)
    assert transform.encode(pl.Series([None, 2.0])).to_list() == [[0, 1], [0, 0]]  # nothing says what 2 means


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
    long = [" ".join(map(str, range(start, start + 8_000))) for start in range(0, 80_000, 8_000)]
    assert fitted("text", long).size == MAX_BUCKETS


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


@pytest.mark.parametrize("outlier", [1e9, 1e30, 1e308, -1e9, -1e308, 1.7976931348623157e308])
def test_one_wrong_number_changes_little_for_the_others(outlier: float) -> None:
    prices = [float(price) for price in range(10, 70)]
    clean, dirty = fitted("numeric", prices), fitted("numeric", [*prices, outlier])
    before, after = (transform.encode(pl.Series(prices)).to_numpy()[:, 0] for transform in (clean, dirty))
    np.testing.assert_allclose(after, before, atol=0.35)
    for transform in (clean, dirty):
        encoded = transform.encode(pl.Series([outlier, 10.0, 69.0])).to_numpy()[:, 0]
        assert np.abs(encoded).max() < 4
        assert transform.count_clipped(pl.Series([outlier, 10.0, 69.0])) == 1


def test_ordinary_numbers_are_encoded_as_they_always_were() -> None:
    draw = np.random.default_rng(0)
    for values in (draw.normal(size=999), np.exp(2 * draw.normal(size=999)), 1.7e9 + draw.uniform(0, 3e7, 999)):
        transform, column = fitted("numeric", list(values)), pl.Series(values)
        assert (transform.mean, transform.scale) == (values.mean(), values.std())
        unlimited = Transform("x", "numeric", 2, mean=transform.mean, scale=transform.scale)  # of an earlier release
        assert transform.encode(column).equals(unlimited.encode(column))
        assert transform.count_clipped(column) == unlimited.count_clipped(column) == 0


@pytest.mark.parametrize("values", [[2**60, 2**60 + 2**20], [5e-324, 0.0, 1e-300], [-(2**63), 2**63 - 1], [1e300] * 3])
def test_numbers_at_the_ends_of_their_type_are_finite(values: list[float]) -> None:
    column = pl.Series([float(value) for value in [*values, math.inf, 1.0]])
    encoded = fitted("numeric", [float(value) for value in values]).encode(column).to_numpy()
    assert np.isfinite(encoded).all()
    assert np.abs(encoded).max() < 4


def test_long_vectors_are_shortened_to_the_longest_that_was_fitted() -> None:
    vectors = [[3.0, 4.0], [0.0, 1.0], [0.0, 0.0], None]
    transform = fitted("vector", vectors)
    assert transform.high == 5
    assert transform.encode(pl.Series(vectors)).to_list() == [[3, 4], [0, 1], [0, 0], [0, 0]]
    today = pl.Series([[3e30, 4e30], [-30.0, 0.0], [0.0, 0.0], [0.6, 0.8]])
    np.testing.assert_allclose(transform.encode(today).to_numpy(), [[3, 4], [-5, 0], [0, 0], [0.6, 0.8]], rtol=1e-6)
    assert transform.count_clipped(today) == 2
    assert Transform("x", "vector", 2).encode(today[1:2]).to_list() == [[-30, 0]]  # of an earlier release
    spoilt = fitted("vector", [*([1.0, value / 10] for value in range(9)), [1e30, 0.0]])
    assert 1.2 < spoilt.high < 2


def test_a_row_of_very_many_values_is_read_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_kinds, "MAX_VALUES", 3)
    monkeypatch.setattr(hashed_words, "MAX_WORDS", 3)
    lists, texts = pl.Series([["a", "b", "c", "a"], ["a"], None]), pl.Series(["a b c a", "a", None])
    for kind, column in (("multi_categorical", lists), ("text", texts)):
        transform = fitted(kind, column)
        assert [len(row) for row in transform.encode(column)] == [3, 1, 0]
        assert transform.count_clipped(column) == 1
    assert fitted("categorical", texts).count_clipped(texts) == 0
