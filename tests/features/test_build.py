"""The feature job end to end: what it accepts, what it refuses, and that its bytes depend on nothing else."""

from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from features.build import build
from features.shard import Part, encode_shard
from recsys.data import Int32, LogCounts, MetadataCounts
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


# The same bytes, whoever does the work


def test_workers_change_no_byte(tmp_path: Path) -> None:
    config = with_metadata(tmp_path, random_log(), shards=4)
    built = [contents(build(config, tmp_path / f"{workers}", workers=workers).path) for workers in (1, 2, 4)]
    assert built[0] == built[1] == built[2]
    with pytest.raises(ValueError, match="workers is 0; expected at least 1"):
        build(config, tmp_path / "none", workers=0)


def test_what_a_shard_was_made_of_goes_once_its_result_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The interim files would else take the disk of several logs; before it, a lost call could not be repeated."""
    seen = []

    def encode(folder: Path, rows: Int32, shard: int, training: Part) -> None:
        seen.append(sorted(path.name for path in (folder / "interim").rglob("*.arrow")))
        encode_shard(folder, rows, shard, training)

    monkeypatch.setattr("features.build.encode_shard", encode)
    build(config_of(tmp_path, random_log(), shards=2), tmp_path / "out")
    users = ["users-00000.arrow", "users-00001.arrow"]
    assert seen == [["train-00000.arrow", "train-00001.arrow", *users], ["train-00001.arrow", *users]]


@pytest.mark.parametrize("shards", [1, 3])
def test_long_string_ids_give_the_same_bytes_again(tmp_path: Path, shards: int) -> None:
    """Those of more than 12 bytes lie in a buffer of their own, in the order in which they were met."""
    log, test = (
        random_log(seed).with_columns(user_id="a user's long name " + pl.col("user_id").cast(pl.String))
        for seed in (1, 5)
    )
    test.write_parquet(tmp_path / "test.parquet")
    split = {"kind": "given", "test": str(tmp_path / "test.parquet")}
    config = config_of(tmp_path, log, {"split": split}, time=None, shards=shards)
    built = [contents(build(config, tmp_path / name).path) for name in ("one", "two")]
    assert built[0] == built[1]


@pytest.mark.parametrize(
    "form", [{"time_format": "%m/%d/%Y %H:%M:%S"}, {"time_format": "[%d/%b/%Y:%H:%M:%S]"}, {"decimal": ","}]
)
def test_text_whose_form_is_said_gives_the_same_dataset(form: dict[str, str], tmp_path: Path) -> None:
    """The dataset says how its log is written, and must open again with that."""
    log = random_log().with_columns(
        user_id=pl.format("u{}", "user_id"), item_id=pl.format("i{}", "item_id"),
        timestamp=datetime(2023, 1, 1) + pl.duration(hours=pl.col("timestamp") * 20),
    )  # fmt: skip
    known = build(config_of(tmp_path, log), tmp_path / "parquet")
    day = (pl.col("timestamp") - datetime(2023, 1, 1)).dt.total_hours() / 24
    text = {
        "time_format": pl.col("timestamp").dt.strftime(form.get("time_format", "")),
        "decimal": day.cast(pl.String).str.replace(".", ",", literal=True),
    }[next(iter(form))]
    log.with_columns(text.alias("timestamp")).write_csv(tmp_path / "events.csv")
    read = build(config_of(tmp_path, log, events=str(tmp_path / "events.csv"), **form), tmp_path / "csv")
    assert histories(read) == histories(known)


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


def test_the_test_file_is_counted_separately(tmp_path: Path) -> None:
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
        (lambda t: (START + timedelta(hours=t)).isoformat(), ("2020-01-09T08:00:00", "2020-01-11 10:00")),
        (lambda t: START + timedelta(hours=t), ("2020-01-09T08:00:00", "2020-01-11 10:00")),
        (lambda t: date(2020, 1, 1) + timedelta(t), ("2020-07-19", "2020-09-07")),
    ],
)
def test_clocks_of_every_type(tmp_path: Path, clock: Any, cuts: tuple[Any, Any]) -> None:
    log = random_log()
    log_in_clock = log.with_columns(timestamp=pl.Series([clock(t) for t in log["timestamp"]]))
    split = {"split": {"kind": "temporal", "val_start": cuts[0], "test_start": cuts[1]}}
    expected = build(config_of(tmp_path / "a", log, TEMPORAL), tmp_path / "a" / "out")
    dataset = build(config_of(tmp_path / "b", log_in_clock, split), tmp_path / "b" / "out")
    assert histories(dataset) == histories(expected)
    queries, expected_queries = dataset.queries("test"), expected.queries("test")
    assert queries.drop("since", "until").equals(expected_queries.drop("since", "until"))
    times = [clock(t) for t in expected_queries["since"]]
    assert queries["since"].to_list() == [datetime.fromisoformat(t) if isinstance(t, str) else t for t in times]


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


def test_a_log_of_one_user(tmp_path: Path) -> None:
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
    assert statistics.item_metadata.clipped == ({"price": 4, "picture": 5} if cold else {})  # beyond item 29
    assert statistics.user_metadata == MetadataCounts(missing={"age": 1}, without_metadata=37, clipped={"age": 1})
