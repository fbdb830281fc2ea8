from pathlib import Path
from typing import Any

import polars as pl
import pytest

from recsys.data.queries import read_queries, scan_queries
from recsys.errors import InputError

QUERIES = {"user_id": [1, 2], "history": [["a", "b"], None], "targets": [["c"], ["a"]], "other": [0, 0]}


def write(folder: Path, **columns: Any) -> str:
    pl.DataFrame(QUERIES | columns).write_parquet(folder / "queries.parquet")
    return str(folder / "queries.parquet")


def test_queries_have_only_the_columns_that_are_needed(tmp_path: Path) -> None:
    location = write(tmp_path)
    assert read_queries(location).to_dict(as_series=False) == {name: QUERIES[name] for name in ("user_id", "history")}
    assert read_queries(location, targets=True).columns == ["user_id", "history", "targets"]


def test_a_sample_is_drawn_at_random_and_in_order(tmp_path: Path) -> None:
    many = pl.DataFrame({"user_id": range(1_000), "history": [[user] for user in range(1_000)]})
    location = str(tmp_path / "queries.parquet")
    many.write_parquet(location, row_group_size=100)
    sample = read_queries(location, at_most=100)
    assert sample.equals(read_queries(location, at_most=100))
    assert sample["user_id"].is_sorted()
    assert sample["user_id"].n_unique() == sample.height == 100
    assert sample.equals(many[sample["user_id"]])
    assert 400 < sample["user_id"].mean() < 600  # type: ignore[operator]
    assert read_queries(location, at_most=1_000).equals(many)


def test_arrays_become_lists_and_dictionaries_become_text(tmp_path: Path) -> None:
    fixed = pl.Series([[1, 2], [3, 4]], dtype=pl.Array(pl.Int16, 2))
    location = write(tmp_path, history=fixed, user_id=pl.Series(["x", "y"], dtype=pl.Categorical))
    assert scan_queries(location).collect_schema() == {"user_id": pl.String, "history": pl.List(pl.Int16)}
    assert read_queries(location)["history"].to_list() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"history": ["a", "b"]}, "history is String; expected a list of item ids for each user"),
        ({"targets": [3, 4]}, "targets is Int64; expected a list of item ids for each user"),
        ({"user_id": [0.5, 1.5]}, "queries at .*: user_id is Float64; ids are integers"),
    ],
)
def test_columns_of_another_type_are_refused(tmp_path: Path, columns: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_queries(write(tmp_path, **columns), targets=True)


def test_a_file_without_targets_is_refused_where_they_are_needed(tmp_path: Path) -> None:
    pl.DataFrame(QUERIES).drop("targets").write_parquet(tmp_path / "queries.parquet")
    assert read_queries(str(tmp_path / "queries.parquet")).height == 2
    with pytest.raises(ValueError, match="has no column 'targets'"):
        read_queries(str(tmp_path / "queries.parquet"), targets=True)


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    location = write(tmp_path)

    def slow(*arguments: Any, **settings: Any) -> pl.LazyFrame:
        frame = scan_queries(*arguments, **settings)
        write(tmp_path, other=[1, 1])
        return frame

    monkeypatch.setattr("recsys.data.queries.scan_queries", slow)
    with pytest.raises(InputError, match=r"queries at .* changed while it was read"):
        read_queries(location, targets=True)


def test_json_lines_of_queries(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text('{"user_id": 1, "history": [1, 2]}\n{"user_id": " ", "history": []}\n')
    table = read_queries(str(path))
    assert table.to_dict(as_series=False) == {"user_id": ["1", None], "history": [["1", "2"], []]}
    path.write_text('{"user_id": 1, "history": [1, 2]}\n')
    table = read_queries(str(path), id_types={"user_id": pl.Int64(), "item_id": pl.Int32()})
    assert table.schema == {"user_id": pl.Int64, "history": pl.List(pl.Int32)}
