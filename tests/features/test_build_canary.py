"""The canary: nothing that happens after the cut changes a byte of train/."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from features.build import build
from tests.random_logs import TEMPORAL, config_of, contents, random_log, with_metadata


def altered_after_the_cut(log: pl.DataFrame) -> pl.DataFrame:
    """Other items, new users and items, some events gone, some added, in another order; before the cut all the same."""
    before, after = log.filter(pl.col("timestamp") < 200), log.filter(pl.col("timestamp") >= 200)
    draw = np.random.default_rng(1)
    changed = after.sample(fraction=0.7, seed=1, shuffle=True).with_columns(
        item_id=pl.Series(draw.integers(0, 60, int(after.height * 0.7))), timestamp=pl.col("timestamp").reverse()
    )
    new = pl.DataFrame({"user_id": draw.integers(0, 80, 150), "item_id": draw.integers(0, 90, 150)})
    return pl.concat([before, changed, new.with_columns(timestamp=pl.Series(draw.integers(200, 300, 150)))])


@pytest.mark.parametrize("shards", [1, 3])
def test_canary_temporal(tmp_path: Path, shards: int) -> None:
    log = random_log()
    log = pl.concat([log.filter(pl.col("timestamp") < 200), log.filter(pl.col("timestamp") >= 200)])
    first, second = (
        build(with_metadata(tmp_path / name, events, TEMPORAL, shards=shards), tmp_path / name / "out")
        for name, events in (("one", log), ("two", altered_after_the_cut(log)))
    )
    assert not first.queries("test").equals(second.queries("test"))
    assert contents(first.path / "train") == contents(second.path / "train")
    num_trained = first.encoder.num_trained
    assert num_trained == second.encoder.num_trained
    assert first.item_features().head(num_trained).equals(second.item_features().head(num_trained))
    assert first.users().equals(second.users())


def test_canary_temporal_validation_sees_no_test_event(tmp_path: Path) -> None:
    log = random_log()
    later = pl.col("timestamp") >= 250
    first, second = (
        build(config_of(tmp_path / name, events, TEMPORAL, min_user_events=12), tmp_path / name / "out")
        for name, events in (("all", log), ("few", log.filter(~later | (pl.col("user_id") < 10))))
    )
    assert contents(first.path / "validation") == contents(second.path / "validation")
    assert first.queries("test").height > second.queries("test").height


def test_canary_leave_one_out(tmp_path: Path) -> None:
    log = random_log().unique(["user_id", "item_id", "timestamp"]).sort("user_id", "timestamp", "item_id")
    length = pl.len().over("user_id")
    held = (pl.int_range(pl.len()).over("user_id") >= length - 2) & (length >= 3)
    changed = log.with_columns(
        item_id=pl.when(held).then(pl.col("item_id") + 1_000 * (pl.col("item_id") % 2)).otherwise("item_id"),
        timestamp=pl.when(held).then(pl.col("timestamp") + 1_000).otherwise("timestamp"),
    )
    first, second = (
        build(with_metadata(tmp_path / name, events, shards=2), tmp_path / name / "out")
        for name, events in (("one", log), ("two", changed))
    )
    assert not first.queries("test").equals(second.queries("test"))
    assert contents(first.path / "train") == contents(second.path / "train")
    num_trained = first.encoder.num_trained
    assert first.item_features().head(num_trained).equals(second.item_features().head(num_trained))


@pytest.mark.parametrize("clock", [None, "timestamp"])
def test_canary_given(tmp_path: Path, clock: str | None) -> None:
    log = random_log().unique(["user_id", "item_id"], keep="first", maintain_order=True)
    built = []
    for name, seed in (("one", 1), ("two", 2)):
        (tmp_path / name).mkdir()
        held = random_log(seed, users=60).with_columns(pl.col("timestamp") + 300)
        held.write_parquet(tmp_path / name / "test.parquet")
        split = {"split": {"kind": "given", "test": str(tmp_path / name / "test.parquet")}}
        config = config_of(tmp_path / name, log, split, time=clock)
        built.append(build(config, tmp_path / name / "out"))
    assert not built[0].queries("test").equals(built[1].queries("test"))
    assert contents(built[0].path / "train") == contents(built[1].path / "train")
    assert contents(built[0].path / "validation") == contents(built[1].path / "validation")
