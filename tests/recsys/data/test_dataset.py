from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from features.build import build
from recsys import files
from recsys.config import Config, parse_config
from recsys.data.dataset import Dataset, encode_lists, read_arrow, write_arrow
from recsys.data.jagged import Jagged


@pytest.fixture
def config(tmp_path: Path) -> Config:
    log = pl.DataFrame(
        {"user_id": [1, 1, 1, 1, 2, 2, 2, 3], "item_id": list("abcdabdz"), "at": [1, 2, 3, 4, 1, 2, 3, 1]}
    )
    log.write_parquet(tmp_path / "log.parquet")
    items = pl.DataFrame({"item_id": ["cold", "a", "b"], "genre": ["x", "y", None], "year": [1999, 2001, 2003]})
    items.write_parquet(tmp_path / "items.parquet")
    features = [{"name": "genre", "kind": "categorical"}, {"name": "year", "kind": "numeric"}]
    data = {
        "events": str(tmp_path / "log.parquet"),
        "items": str(tmp_path / "items.parquet"),
        "time": "at",
        "shards": 3,
    }
    return parse_config({"data": data, "features": {"item": features}}, "test")


def test_tables_are_mapped_and_keep_their_types(tmp_path: Path) -> None:
    frame = pl.DataFrame({
        "i": pl.Series([1, 2], dtype=pl.UInt64), "s": ["a", None], "l": [[1], []], "f": [1.5, 2.5], "o": [True, None],
        "c": pl.Series(["x", "y"], dtype=pl.Categorical), "d": pl.Series([1, 2]).cast(pl.Decimal(10, 2)),
        "t": pl.Series([1, 2]).cast(pl.Datetime("ns", "UTC")), "n": [None, None], "st": [{"a": 1}, {"a": 2}],
        "b": [b"1", None], "v": pl.Series([[1, 2], [3, 4]], dtype=pl.Array(pl.Float32, 2)),
    })  # fmt: skip
    write_arrow(pl.concat([frame.head(1), frame.tail(1)], rechunk=False), tmp_path / "x.arrow")
    again = read_arrow(tmp_path / "x.arrow")
    assert again.equals(frame)
    assert again.schema == frame.schema
    assert again.n_chunks() == 1
    assert not again["f"].to_numpy(allow_copy=False).flags.owndata
    for empty in (frame.head(0), pl.DataFrame()):
        write_arrow(empty, tmp_path / "empty.arrow")
        assert read_arrow(tmp_path / "empty.arrow").schema == empty.schema


def test_a_dataset_reads_as_it_was_built(config: Config, tmp_path: Path) -> None:
    dataset = build(config, tmp_path / "out")
    assert dataset.encoder.item_ids.to_list() == ["a", "b", "z", "cold"]
    assert dataset.encoder.num_trained == 3
    assert dataset.item_counts.tolist() == [0, 2, 1, 1, 0]
    users, histories = dataset.train()
    train = {user: dataset.encoder.ids(histories.whole()[row]).to_list() for row, user in enumerate(users)}
    assert train == {1: ["a", "b"], 2: ["a"], 3: ["z"]}
    for part, history, target, at in (("validation", list("ab"), "c", 3), ("test", list("abc"), "d", 4)):
        queries = dataset.queries(part).sort("user_id")  # type: ignore[arg-type]
        assert queries.columns == ["user_id", "history", "targets", "since", "until"]
        assert queries.row(0) == (1, history, [target], at, at)
    assert dataset.items()["genre"].to_list() == ["y", None, None, "x"]
    assert dataset.item_features()["year"].to_list() == [[-1, 0], [1, 0], [0, 1], [-1, 0]]
    assert dataset.users().columns == ["user_id"]
    assert dataset.config == config
    assert dataset.manifest.encoder == dataset.encoder.content_hash()


def test_only_some_queries_are_read(config: Config, tmp_path: Path) -> None:
    dataset = build(config, tmp_path / "out")
    queries = dataset.queries("test")
    assert queries.height == dataset.num_queries("test") == 2
    assert dataset.queries("test", np.array([1])).equals(queries[1:])
    assert dataset.queries("test", np.array([1, 0])).equals(queries[[1, 0]])
    assert dataset.queries("test", np.empty(0, np.int64)).equals(queries.clear())
    for part in ("validation", "test"):
        targets = dataset.queries(part)["targets"]  # type: ignore[arg-type]
        expected = encode_lists(dataset.encoder, targets)
        assert dataset.targets(part).to_series("").equals(expected.to_series(""))  # type: ignore[arg-type]


def test_with_validation_histories_include_its_targets(config: Config, tmp_path: Path) -> None:
    dataset = replace(build(config, tmp_path / "out"), with_validation=True)
    users, histories = dataset.train()
    train = {user: dataset.encoder.ids(histories.whole()[row]).to_list() for row, user in enumerate(users)}
    assert train == {3: ["z"], 1: ["a", "b"], 2: ["a", "b"]}  # the target of user 1 is "c", which has no training event


def test_it_knows_whom_it_trained_on_and_until_when(config: Config, tmp_path: Path) -> None:
    dataset = build(config, tmp_path / "out")
    assert set(dataset.trained().iter_rows()) == {(1, 2, 3), (2, 1, 2), (3, 1, 1)}
    assert set(replace(dataset, with_validation=True).trained().iter_rows()) == {(1, 3, 3), (2, 2, 2), (3, 1, 1)}
    unordered = config.model_copy(update={"data": config.data.model_copy(update={"time": None})})
    assert build(unordered, tmp_path / "unordered").trained().columns == ["user_id"]


def test_one_shard_is_zero_copy(config: Config, tmp_path: Path) -> None:
    one = config.model_copy(update={"data": config.data.model_copy(update={"shards": 1})})
    histories = build(one, tmp_path / "out").train()[1].whole()
    assert histories.values.dtype == np.int32
    assert not histories.values.flags.owndata
    assert not histories.values.flags.writeable


def test_a_folder_whose_name_has_glob_characters(config: Config, tmp_path: Path) -> None:
    assert build(config, tmp_path / "run [1]*").queries("test").height == 2


def test_a_folder_that_is_no_dataset_is_refused(config: Config, tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path, tmp_path / "log.parquet"):
        with pytest.raises(ValueError, match=r"no dataset at .*; expected the folder that `recsys build --out` wrote"):
            Dataset.open(path)
    files.write_json(tmp_path / "bundle" / "manifest.json", {"format": 1, "members": {}})
    with pytest.raises(ValueError, match="no dataset at"):
        Dataset.open(tmp_path / "bundle")
    dataset = build(config, tmp_path / "out")
    manifest = files.read_json(dataset.path / "manifest.json")
    files.write_json(dataset.path / "manifest.json", manifest | {"format": 99})
    with pytest.raises(ValueError, match="has format 99, expected 5: build it again"):
        Dataset.open(dataset.path)


def test_encode_lists_keeps_the_rows(config: Config, tmp_path: Path) -> None:
    encoder = build(config, tmp_path / "out").encoder
    encoded = encode_lists(encoder, pl.Series([["a", "nowhere", "cold"], [], None, ["z"]]))
    assert [encoded[row].tolist() for row in range(len(encoded))] == [[1, 0, 4], [], [], [3]]
    assert isinstance(encoded, Jagged)
    assert len(encode_lists(encoder, pl.Series([[], []]))) == 2
    with pytest.raises(ValueError, match="item ids are Int64; the model was trained on String"):
        encode_lists(encoder, pl.Series([[1]]))
