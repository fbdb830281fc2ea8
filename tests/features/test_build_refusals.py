"""What the feature job refuses: one clear line, and nothing left."""

from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from features.build import build
from recsys.config import Config
from tests.random_logs import TEMPORAL, config_of, metadata, random_log, with_metadata


def refused(config: Config, folder: Path) -> str:
    with pytest.raises(ValueError, match=r"\S") as caught:
        build(config, folder / "deep" / "out")
    assert "\n" not in str(caught.value)
    assert not (folder / "deep").exists()
    return str(caught.value)


@pytest.mark.parametrize("name", ["user_id", "item_id", "timestamp"])
def test_a_missing_column(tmp_path: Path, name: str) -> None:
    assert f"has no column {name!r}; found" in refused(config_of(tmp_path, random_log().drop(name)), tmp_path)


def test_nothing_left_after_cleaning(tmp_path: Path) -> None:
    nulls = random_log().with_columns(user_id=pl.lit(None, pl.Int64))
    assert "no event is left of 400" in refused(config_of(tmp_path, nulls), tmp_path)
    assert "no event is left of 0" in refused(config_of(tmp_path, nulls.head(0)), tmp_path)


def test_id_types_that_differ_between_files(tmp_path: Path) -> None:
    text = random_log().with_columns(pl.col("user_id", "item_id").cast(pl.String))
    text.write_parquet(tmp_path / "text.parquet")
    config = with_metadata(tmp_path, random_log())
    for name, column in (("items", "item_id"), ("users", "user_id")):
        other = {name: str(tmp_path / "text.parquet")}
        mixed = config_of(tmp_path, random_log(), **other)
        assert f"{column} is String in {name} but Int64 in events; expected one kind" in refused(mixed, tmp_path)
    held = {"split": {"kind": "given", "test": str(tmp_path / "text.parquet")}}
    mixed = config_of(tmp_path, random_log(), held)
    assert "user_id is String in test but Int64 in events" in refused(mixed, tmp_path)
    dates = random_log().with_columns(timestamp=pl.lit(date(2020, 1, 1)))
    dates.write_parquet(tmp_path / "text.parquet")
    assert "time is Date in test but Int64 in events" in refused(mixed, tmp_path)
    random_log().with_columns(pl.col("user_id") + 300).write_parquet(tmp_path / "text.parquet")
    narrow = config_of(tmp_path, random_log().with_columns(pl.col("user_id").cast(pl.Int8)), held)
    assert "does not fit Int8" in refused(narrow, tmp_path)
    assert build(config, tmp_path / "out").path.exists()


@pytest.mark.parametrize(
    ("split", "what"),
    [
        ({"kind": "temporal"}, "split.val_start is None"),
        ({"kind": "temporal", "val_start": "70%"}, "split.test_start is None"),
        ({"kind": "temporal", "val_start": 250, "test_start": 200}, "expected the first to come before the second"),
        ({"kind": "temporal", "val_start": 0, "test_start": 200}, "leaves no training events"),
        ({"kind": "temporal", "val_start": -5, "test_start": 200}, "expected cuts between 1 and 299"),
        ({"kind": "temporal", "val_start": 200, "test_start": 300}, "leaves no test queries"),
        ({"kind": "temporal", "val_start": 200.2, "test_start": 200.5}, "leaves no validation queries"),
        ({"kind": "temporal", "val_start": 400, "test_start": 500}, "leaves no validation queries"),
        ({"kind": "temporal", "val_start": "x", "test_start": 500}, "split.val_start is 'x'; expected a value"),
        (
            {"val_start": "70%", "test_start": "85%"},
            "val_start is set but split.kind is 'leave_one_out'; expected 't",
        ),
        ({"test": "test.parquet"}, "split.test is set but split.kind is 'leave_one_out'; expected 'given': set it, or"),
        ({"kind": "given"}, "needs split.test"),
        ({"kind": "given", "test": "/nowhere.parquet"}, "test: no table at /nowhere.parquet"),
    ],
)
def test_a_split_that_cannot_be_made(tmp_path: Path, split: dict[str, Any], what: str) -> None:
    assert what in refused(config_of(tmp_path, random_log(), {"split": split}), tmp_path)


def test_a_title_that_is_no_column(tmp_path: Path) -> None:
    pl.DataFrame({"item_id": [1], "name": ["x"]}).write_parquet(tmp_path / "items.parquet")
    config = config_of(tmp_path, random_log(), title="nmae", items=str(tmp_path / "items.parquet"))
    assert "data.title is 'nmae'; expected a column of data.items, which has item_id, name" in refused(config, tmp_path)


def test_a_temporal_split_without_a_global_clock(tmp_path: Path) -> None:
    log = random_log()
    assert "needs a time column" in refused(config_of(tmp_path, log, TEMPORAL, time=None), tmp_path)
    position = log.with_columns(timestamp=pl.int_range(pl.len()).over("user_id"))
    assert "position within each user" in refused(config_of(tmp_path, position, TEMPORAL), tmp_path)


def test_a_split_without_queries(tmp_path: Path) -> None:
    pairs = random_log().group_by("user_id", maintain_order=True).head(2)
    assert "expected users with 3 events or more" in refused(config_of(tmp_path, pairs), tmp_path)
    assert "expected users with 99 events" in refused(config_of(tmp_path, random_log(), min_user_events=99), tmp_path)
    strangers = random_log().with_columns(pl.col("user_id") + 1_000, pl.col("timestamp") + 1_000)
    strangers.write_parquet(tmp_path / "test.parquet")
    split = {"split": {"kind": "given", "test": str(tmp_path / "test.parquet")}}
    for clock in ("timestamp", None):
        message = refused(config_of(tmp_path, random_log(), split, time=clock), tmp_path)
        assert "leaves no test queries" in message
        assert "expected a test file with users of the events" in message
    no_test = random_log().clear()
    no_test.write_parquet(tmp_path / "test.parquet")
    assert "no event is left of 0" in refused(config_of(tmp_path, random_log(), split), tmp_path)
    random_log().write_parquet(tmp_path / "test.parquet")
    assert "the test file must be later" in refused(config_of(tmp_path, random_log(), split), tmp_path)


def test_metadata_that_does_not_fit(tmp_path: Path) -> None:
    features = {"features": {"item": [{"name": "genre", "kind": "categorical"}]}}
    assert "set data.items to a file" in refused(config_of(tmp_path, random_log(), features), tmp_path)
    config = with_metadata(tmp_path, random_log())
    for kind, name in (("numeric", "genre"), ("vector", "tags"), ("text", "price"), ("categorical", "picture")):
        wrong = {"features": {"item": [{"name": name, "kind": kind}]}}
        message = refused(with_metadata(tmp_path, random_log(), wrong), tmp_path)
        assert f"feature {name!r} is of kind {kind!r} but its column is" in message
    uneven = metadata().with_columns(picture=pl.when(item_id=34).then([1.0]).otherwise("picture"))
    uneven.write_parquet(tmp_path / "items.parquet")
    assert "has a vector of 1 numbers beside those of 2" in refused(config, tmp_path)
    metadata().drop("genre").write_parquet(tmp_path / "items.parquet")
    assert "has no column 'genre'" in refused(config, tmp_path)
    many = config_of(tmp_path, random_log(), min_item_events=1_000)
    assert "lower it" in refused(many, tmp_path)


@pytest.mark.parametrize("events", ["none.parquet", "none/*.parquet", "empty", "text.parquet"])
def test_events_that_cannot_be_read(tmp_path: Path, events: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.parquet").write_text("user_id,item_id")
    config = config_of(tmp_path, random_log(), events=str(tmp_path / events))
    assert str(tmp_path / events) in refused(config, tmp_path)
