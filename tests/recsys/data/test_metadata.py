from pathlib import Path
from typing import Any

import polars as pl
import pytest

from features.catalogue import align_metadata, fit_features
from recsys.config import FeatureConfig
from recsys.data.feature_kinds import Transform
from recsys.data.metadata import MetadataCounts, MetadataTable, encode_features, joined_texts, read_metadata

GENRE = FeatureConfig(name="genre", kind="categorical")


def read(
    folder: Path, columns: dict[str, Any], dtype: pl.DataType | None = None, *features: FeatureConfig
) -> MetadataTable:
    pl.DataFrame(columns).write_parquet(folder / "items.parquet")
    return read_metadata(str(folder / "items.parquet"), "asin", "item_id", dtype or pl.Int64(), features)


def test_without_a_file_there_is_no_metadata() -> None:
    metadata = read_metadata(None, "asin", "item_id", pl.Int8(), ())
    assert metadata.table.schema == {"item_id": pl.Int8}
    assert metadata.counts == MetadataCounts()
    with pytest.raises(ValueError, match=r"features need metadata: set data\.users to a file"):
        read_metadata(None, "id", "user_id", pl.Int8(), (GENRE,))


def test_the_first_of_several_rows_wins_and_rows_without_id_are_dropped(tmp_path: Path) -> None:
    metadata = read(tmp_path, {"genre": list("abcde"), "asin": [3, None, 1, 3, None]})
    assert metadata.table.rows() == [(3, "a"), (1, "c")]
    assert metadata.table.columns == ["item_id", "genre"]
    assert metadata.counts == MetadataCounts(rows_without_id=2, rows_repeated=1)
    assert read(tmp_path, {"asin": [1, 2]}).counts == MetadataCounts()


def test_ids_take_the_type_of_the_log(tmp_path: Path) -> None:
    assert read(tmp_path, {"asin": [1, 2]}, pl.UInt8()).table.schema == {"item_id": pl.UInt8}
    column = pl.Series(["x", "y"], dtype=pl.Categorical)
    assert read(tmp_path, {"asin": column}, pl.String()).table["item_id"].to_list() == ["x", "y"]
    with pytest.raises(ValueError, match="items: item_id 300 does not fit UInt8"):
        read(tmp_path, {"asin": [1, 300]}, pl.UInt8())
    with pytest.raises(ValueError, match="asin is Int64 in items but String in events; expected one kind"):
        read(tmp_path, {"asin": [1]}, pl.String())
    with pytest.raises(ValueError, match=r"items at .*: asin is Float64; ids are integers"):
        read(tmp_path, {"asin": [1.0]})


def test_a_column_with_our_name_of_the_id_is_replaced_by_the_id(tmp_path: Path) -> None:
    assert read(tmp_path, {"item_id": ["other"], "asin": [1]}).table.to_dict(as_series=False) == {"item_id": [1]}


def test_missing_columns_and_the_id_as_a_feature(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"items at .* has no column 'genre'; found asin, title"):
        read(tmp_path, {"asin": [1], "title": ["x"]}, None, GENRE)
    for name in ("asin", "item_id"):
        with pytest.raises(ValueError, match=r"items: the id is no feature; .* remove it from features\.item"):
            read(tmp_path, {"asin": [1], "item_id": [1]}, None, FeatureConfig(name=name, kind="categorical"))


def test_transforms_are_fitted_on_the_training_rows_alone() -> None:
    table = pl.DataFrame({"item_id": [1, 2, 3], "genre": ["x", "y", "z"], "year": [1.0, 3.0, 1e6]})
    features = (GENRE, FeatureConfig(name="year", kind="numeric"))
    transforms = fit_features(features, table.head(2), {})
    assert transforms[0].vocabulary == ("x", "y")
    encoded = encode_features(transforms, table)
    assert encoded["genre"].to_list() == [[1], [2], [0]]
    assert encoded["year"].to_list() == [[-1, 0], [1, 0], [1, 0]]  # outside of what was fitted
    assert encode_features((), table).columns == []


def test_metadata_is_aligned_with_ids() -> None:
    table = pl.DataFrame({"item_id": [1, 2], "genre": ["x", "y"]})
    ordered = align_metadata(pl.Series("item_id", [9, 2, 1]), table)
    assert ordered.rows() == [(9, None), (2, "y"), (1, "x")]


def test_blank_ids_count_as_rows_without_one(tmp_path: Path) -> None:
    metadata = read(tmp_path, {"asin": ["a", "", " ", None, "b"]}, pl.String())
    assert metadata.table["item_id"].to_list() == ["a", "b"]
    assert metadata.counts.rows_without_id == 3


def test_a_text_file_has_the_types_of_the_log_the_features_and_the_bundle(tmp_path: Path) -> None:
    path, price = tmp_path / "x.csv", (FeatureConfig(name="price", kind="numeric"),)
    path.write_text("\ufeffasin;price;year;code\r\n1;3,50;1999;007\r\n2;;2001;8\r\n\r\n", encoding="utf-8")
    table = read_metadata(str(path), "asin", "item_id", pl.Int32(), price, decimal=",").table
    assert table.rows() == [(1, 3.5, 1999, "007"), (2, None, 2001, "8")]
    assert table.schema["item_id"] == pl.Int32
    types = {"year": pl.String(), "code": pl.String()}
    known = read_metadata(str(path), "asin", "item_id", pl.String(), price, decimal=",", types=types).table
    assert known.rows() == [("1", 3.5, "1999", "007"), ("2", None, "2001", "8")]
    with pytest.raises(ValueError, match=r"items at .*: price holds '3,50' .* set data.decimal"):
        read_metadata(str(path), "asin", "item_id", pl.Int32(), price)


def test_columns_whose_names_look_like_patterns(tmp_path: Path) -> None:
    features = (FeatureConfig(name="^t.*$", kind="text"), FeatureConfig(name="*", kind="numeric"))
    columns = {"^a.*$": [1], "asin": [2], "^t.*$": ["title"], "*": [1.5], "tx": [None]}
    pl.DataFrame(columns).write_parquet(tmp_path / "x.parquet")
    table = read_metadata(str(tmp_path / "x.parquet"), "^a.*$", "item_id", pl.Int64(), features).table
    assert table.to_dict(as_series=False) == {"item_id": [1], "asin": [2], "^t.*$": ["title"], "*": [1.5], "tx": [None]}


def test_all_texts_of_a_row_are_joined():
    texts = tuple(Transform(name, "text", 1024) for name in ("title", "about", "missing"))
    table = pl.DataFrame({"about": ["of a", None, "b", ""], "title": ["The X", None, None, ""]})
    assert joined_texts(texts, table).to_list() == ["The X of a", None, "b", " "]
    assert joined_texts((Transform("title", "categorical", 2),), table).to_list() == [None] * 4
