from typing import Any

import polars as pl
import pytest

from recsys.config import FeatureConfig
from recsys.data import encode_features, fit_feature
from recsys.data.text_columns import type_columns


def typed(
    values: list[str | None], kind: Any = None, *, decimal: str = ".", types: Any = None, infers: bool = True
) -> pl.Series:
    features = () if kind is None else (FeatureConfig(name="x", kind=kind),)
    table = pl.DataFrame({"x": values}, schema={"x": pl.String})
    return type_columns(table, features, types or {}, decimal, "items", infers=infers).to_series()


def test_types_are_inferred_over_all_values() -> None:
    assert typed(["1", "-2", None, ""]).to_list() == [1, -2, None, None]
    assert typed(["1"] * 20_000 + ["a"]).dtype == pl.String
    assert typed(["1", "0042"]).to_list() == ["1", "0042"]
    assert typed(["1", "2.5", ".5", "1e3"]).to_list() == [1.0, 2.5, 0.5, 1000.0]
    assert typed(["True", "false", None]).to_list() == [True, False, None]
    assert typed([None, None]).dtype == pl.String
    assert typed(["1", "9999999999999999999"]).dtype == pl.Float64
    assert typed(["1", "2"], infers=False).dtype == pl.String


def test_a_decimal_comma_is_declared_or_refused() -> None:
    assert typed(["3,50", "1000", "-0,5"], "numeric", decimal=",").to_list() == [3.5, 1000.0, -0.5]
    assert typed(["3,50", "7"], decimal=",").to_list() == [3.5, 7.0]
    assert typed(["3.50", "7"], decimal=",").dtype == pl.String
    with pytest.raises(ValueError, match=r"x holds '3,50' .* in 1 of 2 rows; .* set data.decimal = \",\""):
        typed(["3,50", "7"], "numeric")
    for value in ("1.234,50", "3.50"):
        with pytest.raises(ValueError, match="expected numbers with a decimal comma: correct it"):
            typed([value, "7"], "numeric", decimal=",")


def test_a_number_is_missing_only_where_it_is_said_to_be() -> None:
    assert typed(["7", "N/A", "-", "", None, "NaN"], "numeric").to_list() == [7.0, None, None, None, None, None]
    with pytest.raises(ValueError, match=r"x holds '\$7' and the like in 1 of 2 rows"):
        typed(["7", "$7"], "numeric")


def test_other_features_stay_text_so_that_no_night_flips_them() -> None:
    for kind in ("categorical", "text"):
        assert typed(["1.50", "2"], kind).to_list() == ["1.50", "2"]
    assert typed(['["a", "b"]', "", None], "multi_categorical").to_list() == [["a", "b"], None, None]
    assert typed(["[1, 2.5]", "[]"], "vector").to_list() == [[1.0, 2.5], []]
    assert typed(["a|b"], "multi_categorical").to_list() == ["a|b"]
    with pytest.raises(ValueError, match="expected lists as JSON"):
        typed(["['a', 'b']"], "multi_categorical")


def test_the_types_of_a_bundle_win() -> None:
    assert typed(["1", "2"], types={"x": pl.String()}).to_list() == ["1", "2"]
    assert typed(["1", "2"], types={"x": pl.Float64()}).to_list() == [1.0, 2.0]
    with pytest.raises(ValueError, match=r"x holds '1.5'"):
        typed(["1.5", "2"], types={"x": pl.Int64()})


@pytest.mark.parametrize("name", ["^t.*$", "*", "^.*$"])
@pytest.mark.parametrize(("kind", "text"), [("numeric", "1.5"), ("text", "a b"), ("categorical", "a"), (None, "7")])
def test_names_that_look_like_patterns_are_names(name: str, kind: Any, text: str) -> None:
    features = () if kind is None else (FeatureConfig(name=name, kind=kind),)
    table = pl.DataFrame({"tx": ["other"], name: [text]})
    typed_table = type_columns(table, features, {}, ".", "items", infers=True)
    assert typed_table.columns == ["tx", name]
    assert typed_table["tx"].to_list() == ["other"]
    assert str(typed_table.get_column(name)[0]) == text
    if kind is not None:
        transform = fit_feature(features[0], typed_table.get_column(name))
        assert encode_features((transform,), typed_table).columns == [name]
        assert transform.count_clipped(typed_table.get_column(name)) == 0
