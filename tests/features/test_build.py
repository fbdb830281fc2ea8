"""The feature job end to end: what it accepts, what it refuses, and that its bytes depend on nothing else."""

import os
import random
import signal
import subprocess
import sys
import time
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from features.build import build
from recsys.config import Config, load_config
from recsys.data import LogCounts, MetadataCounts
from tests.random_logs import (
    ITEM_FEATURES,
    TEMPORAL,
    config_of,
    contents,
    histories,
    random_log,
    with_metadata,
)


def test_the_artifact_is_what_its_docstring_lists(tmp_path: Path) -> None:
    dataset = build(with_metadata(tmp_path, random_log(), shards=2), tmp_path / "out")
    assert [*contents(dataset.path)] == [
        "catalogue/features.arrow", "catalogue/items.arrow", "catalogue/logged.arrow", "catalogue/users.arrow",
        "manifest.json", "quarantine.parquet", "test/shard-00000.arrow", "test/shard-00001.arrow", "train/encoder.json",
        "train/items.arrow", "train/shard-00000.arrow", "train/shard-00001.arrow", "validation/shard-00000.arrow",
        "validation/shard-00001.arrow",
    ]  # fmt: skip
    assert {path.name for path in tmp_path.iterdir()} == {
        "events.parquet", "items.parquet", "users.parquet", "out",
    }  # fmt: skip


# The canary: nothing that happens after the cut is seen in train/


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


# The same bytes, whoever does the work


def test_workers_change_no_byte(tmp_path: Path) -> None:
    config = with_metadata(tmp_path, random_log(), shards=4)
    built = [contents(build(config, tmp_path / f"{workers}", workers=workers).path) for workers in (1, 2, 4)]
    assert built[0] == built[1] == built[2]
    with pytest.raises(ValueError, match="workers is 0; expected at least 1"):
        build(config, tmp_path / "none", workers=0)


def test_long_string_ids_give_the_same_bytes_again(tmp_path: Path) -> None:
    """Those of more than 12 bytes lie in a buffer of their own, in the order in which they were met."""
    log, test = (
        random_log(seed).with_columns(user_id="a user's long name " + pl.col("user_id").cast(pl.String))
        for seed in (1, 5)
    )
    test.write_parquet(tmp_path / "test.parquet")
    split = {"kind": "given", "test": str(tmp_path / "test.parquet")}
    config = config_of(tmp_path, log, {"split": split}, time=None)
    built = [contents(build(config, tmp_path / name).path) for name in ("one", "two")]
    assert built[0] == built[1]


@pytest.mark.parametrize("kind", ["leave_one_out", "temporal", "given"])
def test_shards_hold_the_same_histories_and_queries(tmp_path: Path, kind: str) -> None:
    log = random_log().unique(["user_id", "item_id"], keep="first", maintain_order=True)
    random_log(5).write_parquet(tmp_path / "test.parquet")
    split = {"kind": kind} | {"temporal": TEMPORAL["split"], "given": {"test": str(tmp_path / "test.parquet")}}.get(
        kind, {}
    )
    time_column = None if kind == "given" else "timestamp"
    one, many = (
        build(config_of(tmp_path, log, {"split": split}, time=time_column, shards=shards), tmp_path / f"{shards}")
        for shards in (1, 50)
    )
    assert histories(one) == histories(many)
    assert one.encoder.content_hash() == many.encoder.content_hash()
    assert one.item_counts.tolist() == many.item_counts.tolist()
    for part in ("validation", "test"):
        assert one.queries(part).sort("user_id").equals(many.queries(part).sort("user_id"))  # type: ignore[arg-type]
    assert one.manifest.statistics == many.manifest.statistics


def test_the_order_of_the_file_breaks_ties_only(tmp_path: Path) -> None:
    log = random_log().unique(["user_id", "timestamp"], keep="first", maintain_order=True)
    first, second = (
        build(config_of(tmp_path / name, events), tmp_path / name / "out")
        for name, events in (("one", log), ("two", log.sample(fraction=1, shuffle=True, seed=1)))
    )
    assert contents(first.path / "train") == contents(second.path / "train")
    tied = pl.DataFrame({"user_id": [1] * 5, "item_id": [5, 3, 4, 1, 2], "timestamp": [7] * 5})
    dataset = build(config_of(tmp_path / "tied", tied), tmp_path / "tied" / "out")
    assert histories(dataset) == {1: [5, 3, 4]}
    assert dataset.queries("test").row(0) == (1, [5, 3, 4, 1], [2], 7, 7)
    assert dataset.manifest.statistics.equal_times == 4


# Re-runs and kills


def test_a_finished_dataset_is_reused_and_another_refused(tmp_path: Path) -> None:
    config = with_metadata(tmp_path, random_log())
    dataset = build(config, tmp_path / "out")
    before = (dataset.path / "manifest.json").stat().st_mtime_ns
    train_only = config.model_copy(update={"training": config.training.model_copy(update={"epochs": 3, "seed": 9})})
    for same in (config, train_only):
        assert build(same, tmp_path / "out").digest == dataset.digest
    assert (dataset.path / "manifest.json").stat().st_mtime_ns == before
    for section, change in (("data", {"min_user_events": 4}), ("split", {"seed": 1}), ("features", {"user": ()}),
                            ("data", {"shards": 2}), ("data", {"users": None})):  # fmt: skip
        other = config.model_copy(update={section: getattr(config, section).model_copy(update=change)})
        with pytest.raises(ValueError, match="holds a dataset of other inputs or settings; choose another --out"):
            build(other, tmp_path / "out")
    for name in ("events", "items", "users"):
        table = pl.read_parquet(tmp_path / f"{name}.parquet")
        table.head(table.height - 1).write_parquet(tmp_path / f"{name}.parquet")
        with pytest.raises(ValueError, match="holds a dataset of other inputs"):
            build(config, tmp_path / "out")
        table.write_parquet(tmp_path / f"{name}.parquet")
    assert build(config, tmp_path / "out").digest == dataset.digest


def test_the_same_inputs_elsewhere_are_the_same_dataset(tmp_path: Path) -> None:
    first, second = (build(with_metadata(tmp_path / name, random_log()), tmp_path / name / "out") for name in "ab")
    assert first.digest == second.digest


@pytest.mark.parametrize("what", ["file", "folder"])
def test_what_is_no_dataset_is_never_overwritten(tmp_path: Path, what: str) -> None:
    out = tmp_path / "precious"
    if what == "folder":
        out.mkdir()
    (out / "thesis.txt" if what == "folder" else out).write_text("years of work")
    with pytest.raises(ValueError, match=r"no dataset at .*precious"):
        build(config_of(tmp_path, random_log()), out)
    assert (out / "thesis.txt" if what == "folder" else out).read_text() == "years of work"


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert build(config_of(tmp_path, random_log()), tmp_path / "out").queries("test").height


BUILD = """
import sys
from pathlib import Path
from features.build import build
from recsys.config import load_config
if __name__ == "__main__":
    config, out, workers = load_config(Path(sys.argv[1])), Path(sys.argv[2]), int(sys.argv[3])
    print("ready", flush=True)
    build(config, out, workers=workers)
"""


def kill_during_build(folder: Path, out: Path, delay: float, workers: int) -> None:
    """Start a build in a process of its own, and kill that process alone: its workers have to notice."""
    (folder / "job.py").write_text(BUILD)
    command = [sys.executable, str(folder / "job.py"), str(folder / "my.toml"), str(out), str(workers)]
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)  # ends when its workers, which hold the pipe too, have ended


def write_job(folder: Path, num_events: int) -> Config:
    random_log(0, num_events // 10, num_events).write_parquet(folder / "events.parquet")
    (folder / "my.toml").write_text('[data]\nevents = "events.parquet"\ntime = "timestamp"\nshards = 4\n')
    return load_config(folder / "my.toml")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_build_leaves_nothing_to_read_and_starts_again(tmp_path: Path, workers: int) -> None:
    config = write_job(tmp_path, 200_000)
    expected = contents(build(config, tmp_path / "whole").path)
    draw = random.Random(workers)
    for _ in range(2):
        kill_during_build(tmp_path, tmp_path / "out", draw.uniform(0, 0.4), workers)
        if (tmp_path / "out").exists():  # it was finished first
            assert contents(tmp_path / "out") == expected
    assert contents(build(config, tmp_path / "out").path) == expected
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".out")]


# What is counted and reported


def test_the_manifest_counts_what_was_odd(tmp_path: Path) -> None:
    log = pl.DataFrame({
        "user_id": [1, 1, 1, 1, 1, None, 2, 2, 3, 3], "item_id": [1, 2, 3, 3, 4, 1, 1, None, 2, 1],
        "timestamp": [1.0, 1.0, 2.0, 2.0, 3.0, 1.0, 1.0, 2.0, float("nan"), 1.0],
    })  # fmt: skip
    items = pl.DataFrame({"item_id": [1, 2, 2, 8, None], "price": [1.0, float("inf"), 5.0, None, 7.0]})
    items.write_parquet(tmp_path / "items.parquet")
    features = {"features": {"item": [{"name": "price", "kind": "numeric"}]}}
    dataset = build(config_of(tmp_path, log, features, items=str(tmp_path / "items.parquet")), tmp_path / "out")
    assert dataset.manifest.statistics.to_json() == {
        "rows": 10, "events": 6, "quarantined: no user_id": 1, "quarantined: no item_id": 1, "quarantined: no time": 1,
        "quarantined: duplicate": 1, "equal_times": 1, "users": 3, "users_with_few_events": 2, "training_events": 4,
        "validation_queries": 1, "test_queries": 1, "items": 3, "trained_items": 2, "items_rows_without_id": 1,
        "items_rows_repeated": 1, "missing: items price": 2,
    }  # fmt: skip
    assert pl.read_parquet(dataset.path / "quarantine.parquet")["reason"].to_list() == [
        "duplicate", "no user_id", "no item_id", "no time"
    ]  # fmt: skip


def test_the_test_file_is_counted_apart(tmp_path: Path) -> None:
    held = pl.DataFrame({"user_id": [1, 1, 1, None], "item_id": [1, 2, 2, 3]}, schema_overrides={"item_id": pl.Int32})
    held.with_columns(timestamp=pl.lit(1_000.5)).write_parquet(tmp_path / "test.parquet")
    split = {"split": {"kind": "given", "test": str(tmp_path / "test.parquet")}}
    log = pl.concat([random_log(), random_log().head(1)])
    dataset = build(config_of(tmp_path, log, split), tmp_path / "out")
    assert dataset.manifest.statistics.test == LogCounts(
        rows=4, events=2, quarantined={"duplicate": 1, "no user_id": 1}
    )
    assert dataset.queries("test").select("user_id", "targets").rows() == [(1, [1, 2])]
    quarantine = pl.read_parquet(dataset.path / "quarantine.parquet")
    assert quarantine.filter(source="test").select("row", "reason").rows() == [(2, "duplicate"), (3, "no user_id")]


# What works


@pytest.mark.parametrize("dtype", [pl.Int32, pl.UInt64, pl.String, pl.Categorical])
def test_ids_of_every_type(tmp_path: Path, dtype: Any) -> None:
    plain = random_log().with_columns(pl.col("user_id", "item_id").cast(pl.String).cast(dtype))
    dataset = build(config_of(tmp_path, plain), tmp_path / "out")
    inside = pl.String if dtype == pl.Categorical else dtype
    assert dataset.encoder.item_ids.dtype == inside
    assert dataset.encoder.item_ids.to_list() == sorted(dataset.encoder.item_ids.to_list())
    assert dataset.queries("test").drop("since", "until").schema == {
        "user_id": inside, "history": pl.List(inside), "targets": pl.List(inside)
    }  # fmt: skip
    users, _ = dataset.train()
    assert users.to_list() == sorted(users.to_list())


START = datetime(2020, 1, 1)


@pytest.mark.parametrize(
    ("clock", "cuts"),
    [
        (lambda t: t, (200, 250)),
        (lambda t: float(t), (199.5, 250)),
        (lambda t: f"{t:03d}", ("200", "250")),
        (lambda t: START + timedelta(hours=t), ("2020-01-09T08:00:00", "2020-01-11 10:00")),
        (lambda t: date(2020, 1, 1) + timedelta(t), ("2020-07-19", "2020-09-07")),
    ],
)
def test_clocks_of_every_type(tmp_path: Path, clock: Any, cuts: tuple[Any, Any]) -> None:
    log = random_log()
    told = log.with_columns(timestamp=pl.Series([clock(t) for t in log["timestamp"]]))
    split = {"split": {"kind": "temporal", "val_start": cuts[0], "test_start": cuts[1]}}
    expected = build(config_of(tmp_path / "a", log, TEMPORAL), tmp_path / "a" / "out")
    dataset = build(config_of(tmp_path / "b", told, split), tmp_path / "b" / "out")
    assert histories(dataset) == histories(expected)
    found, wanted = dataset.queries("test"), expected.queries("test")
    assert found.drop("since", "until").equals(wanted.drop("since", "until"))
    assert found["since"].to_list() == [clock(t) for t in wanted["since"]]


def test_a_glob_and_a_hive_folder(tmp_path: Path) -> None:
    log = random_log().sort("timestamp")
    expected = build(config_of(tmp_path, log), tmp_path / "out")
    for number, part in enumerate(log.iter_slices(150)):
        part.write_parquet(tmp_path / f"part-{number}.parquet")
    globbed = config_of(tmp_path, log, events=str(tmp_path / "part-*.parquet"))
    assert histories(build(globbed, tmp_path / "globbed")) == histories(expected)
    for (value,), part in log.partition_by("timestamp", as_dict=True).items():
        (tmp_path / "hive" / f"timestamp={value:03d}").mkdir(parents=True)
        part.drop("timestamp").write_parquet(tmp_path / "hive" / f"timestamp={value:03d}" / "0.parquet")
    hive = config_of(tmp_path, log, events=str(tmp_path / "hive"))
    assert histories(build(hive, tmp_path / "from-hive")) == histories(expected)


def test_one_user(tmp_path: Path) -> None:
    log = pl.DataFrame({"user_id": [7] * 4, "item_id": [4, 3, 2, 1], "timestamp": [1, 2, 3, 4]})
    dataset = build(config_of(tmp_path, log, shards=5), tmp_path / "out")
    assert histories(dataset) == {7: [4, 3]}
    assert dataset.queries("validation").row(0) == (7, [4, 3], [2], 3, 3)
    assert dataset.queries("test").row(0) == (7, [4, 3, 2], [1], 4, 4)
    assert dataset.encoder.item_ids.to_list() == [3, 4, 1, 2]  # trained, then what occurs later only


def test_new_users_are_asked_once_they_have_a_history(tmp_path: Path) -> None:
    late = pl.DataFrame({"user_id": [900, 900, 900, 901], "item_id": [1, 2, 3, 4], "timestamp": [260, 261, 262, 263]})
    dataset = build(config_of(tmp_path, pl.concat([random_log(), late]), TEMPORAL), tmp_path / "out")
    asked = dataset.queries("test").filter(pl.col("user_id") >= 900)
    assert asked.rows() == [(900, [1, 2], [3], 262, 262)]
    assert not {900, 901} & {*histories(dataset)}


def test_min_item_events_counts_training_events_only(tmp_path: Path) -> None:
    log = pl.DataFrame({
        "user_id": [1, 1, 1, 1, 2, 2, 2, 2], "item_id": [1, 2, 9, 9, 1, 2, 9, 9], "timestamp": [1, 2, 3, 4, 1, 2, 3, 4]
    })  # fmt: skip
    more = log.head(1).with_columns(timestamp=pl.lit(0, pl.Int64))
    one, two, three = (
        build(config_of(tmp_path, events, min_item_events=least), tmp_path / f"{least}")
        for least, events in ((1, log), (2, log), (3, pl.concat([log, more])))
    )
    assert (one.encoder.num_trained, two.encoder.num_trained) == (2, 2)  # 9 has four events, none to train on
    assert one.encoder.item_ids.to_list() == [1, 2, 9]
    assert three.encoder.item_ids.to_list() == [1, 2, 9]
    assert three.encoder.num_trained == 1
    assert histories(three) == {1: [1, 1], 2: [1]}


@pytest.mark.parametrize(("catalogue", "cold"), [("all", 5), ("events", 0)])
def test_items_that_never_occur(tmp_path: Path, catalogue: str, cold: int) -> None:
    dataset = build(with_metadata(tmp_path, random_log(), catalogue=catalogue), tmp_path / "out")
    assert dataset.encoder.num_items == 30 + cold
    assert dataset.encoder.item_ids.tail(5).to_list() == (list(range(30, 35)) if cold else list(range(25, 30)))
    assert dataset.item_features().height == 30 + cold
    assert dataset.item_features().columns == [feature["name"] for feature in ITEM_FEATURES]
    assert dataset.users().to_dict(as_series=False)["user_id"] == [1, 2, 3, 99]
    statistics = dataset.manifest.statistics
    assert statistics.item_metadata.missing == {"price": 6 - (catalogue == "events")}
    assert statistics.user_metadata == MetadataCounts(missing={"age": 1}, without_metadata=37)
