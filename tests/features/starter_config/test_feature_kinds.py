import datetime

import polars as pl
import pytest

from features.starter_config.columns import look_at
from features.starter_config.feature_kinds import suggest_feature


def kind_of(look, name, values):
    return suggest_feature(look("t.csv", f"{name};other", [(value, 1) for value in values], ";").columns[name])


@pytest.mark.parametrize(
    ("name", "values", "kind"),
    [
        ("title", ["a red mug", "a blue mug", "one green lamp"], "text"),
        ("brand", ["Acme", "Acme", "Bolt", "Bolt"], "categorical"),
        ("price", ["3,50", "4,00", "12,99"], "numeric"),
        ("price", ["3.50", "4.00", "n/a"], "numeric"),
        ("category_id", ["17", "17", "18", "19"], "categorical"),
        ("zip", ["01067", "01067", "80331", "V5T"], "categorical"),
        ("in_stock", ["true", "false", "true", "false"], "categorical"),
        ("tags", ["a|b", "b|c", "a|c"], "text"),
        ("tags", ['["a"| "b"]'.replace("|", ","), '["c"]', '["a"]'], "multi_categorical"),
        ("embedding", ["[0.1, 0.2]", "[0.3, 0.4]", "[0.5, 0.6]"], "vector"),
        ("image", ["https://a/1.jpg", "https://a/2.jpg", "https://a/3.jpg"], None),
        ("ean_code", ["400", "401", "402"], None),
        ("serial", ["a1", "a2", "a3"], None),
        ("launched", ["2020-01-01", "2020-02-01", "2020-03-01"], None),
        ("launched", ["1/14/2020", "2/14/2020", "3/14/2020"], None),
        ("average_rating", ["4.5", "3.5", "2.5"], None),
        ("country", ["DE", "DE", "DE"], None),
        ("empty", ["", "", ""], None),
        ("rare", [*[""] * 40, "a"], None),
    ],
)  # fmt: skip
def test_a_column_of_text_is_a_feature_by_its_name_and_all_of_its_values(look, name, values, kind):
    feature = kind_of(look, name, values)
    assert feature.kind == kind
    assert feature.reason


def test_typed_columns_are_features_by_their_type(tmp_path):
    pl.DataFrame({
        "tags": [["a"], ["b"]], "vector": [[0.1], [0.2]],
        "array": pl.Series([[1.0], [2.0]], dtype=pl.Array(pl.Float32, 1)),
        "flag": [True, False], "weight": [1.5, 2.5], "day": [datetime.date(2020, 1, 1), datetime.date(2020, 1, 2)],
        "inner": [{"a": 1}, {"a": 2}],
    }).write_parquet(tmp_path / "t.parquet")  # fmt: skip
    columns = look_at(tmp_path / "t.parquet").columns
    kinds = {name: suggest_feature(column).kind for name, column in columns.items()}
    assert kinds == {
        "tags": "multi_categorical", "vector": "vector", "array": "vector", "flag": "categorical", "weight": "numeric",
        "day": None, "inner": None,
    }  # fmt: skip
