"""Batch scoring: everyone once, and nothing dropped in silence."""

import json

import polars as pl
import pytest

from recsys import files
from recsys.answers import FALLBACK
from recsys.retriever import Retriever
from serving import partition, sources
from serving.batch_scoring import score


def reasons(folder):
    """user_id to (count, reason), of all parts."""
    lines = [line for path in sorted(folder.glob("*.ndjson")) for line in path.read_text().splitlines()]
    return {row["user_id"]: (row["count"], row["reason"]) for row in map(json.loads, lines)}


def test_every_user_once_with_ranks_from_one(small_run, run, tmp_path, many_partitions):
    recs = run(events=str(small_run.folder / "events.parquet"))
    assert recs.schema == {"user_id": pl.String, "item_id": pl.String, "rank": pl.Int32, "score": pl.Float32}
    assert sorted(recs["user_id"].unique()) == sorted(small_run.events["user_id"].unique())
    assert recs.height == 3_000
    for _, rows in recs.group_by("user_id"):
        assert rows["rank"].to_list() == list(range(1, 11))
        assert rows["score"].is_sorted(descending=True)
    assert not recs.join(small_run.events, on=["user_id", "item_id"], how="semi").height
    folder = tmp_path / "recs"
    assert len(list(folder.glob("part-*.parquet"))) == -(-small_run.events.height // 300)
    assert {path.suffix for path in folder.rglob("*")} == {".parquet", ".json", ".ndjson"}
    manifest = files.read_json(folder / "manifest.json")
    assert manifest["bundle_id"] == small_run.bundle_id
    assert manifest["totals"]["users"] == 300
    assert manifest["totals"]["events"] == small_run.events.height
    assert reasons(folder) == {}


def test_the_size_of_partitions_changes_no_answer(small_run, retriever, tmp_path, monkeypatch):
    source = {"events": str(small_run.folder / "events.parquet"), "k": 10}
    score(retriever, tmp_path / "one", **source)
    monkeypatch.setattr(sources, "EVENTS_PER_PARTITION", 1_000)
    monkeypatch.setattr(partition, "ROWS_IN_MEMORY", 70)
    score(retriever, tmp_path / "many", **source)
    one, many = (
        pl.read_parquet(tmp_path / name / "part-*.parquet").sort("user_id", "rank") for name in ("one", "many")
    )
    assert one.equals(many)


def test_queries_are_scored_as_given(small_run, retriever, run, tmp_path, many_partitions):
    queries = small_run.dataset.queries("test")
    queries.write_parquet(tmp_path / "queries.parquet")
    recs = run(queries=str(tmp_path / "queries.parquet")).group_by("user_id", maintain_order=True).agg("item_id")
    assert recs["user_id"].equals(queries["user_id"])
    answers = retriever.recommend(queries["history"], user_ids=queries["user_id"], k=10)
    assert recs["item_id"].to_list() == answers.item_ids.to_list()
    assert any(target in row for target, row in zip(queries["targets"].list.first(), recs["item_id"], strict=True))


@pytest.mark.parametrize(
    ("queries", "message"),
    [
        ({"user_id": ["a", "a"], "history": [["i00001"]] * 2}, "2 rows, 0 without a user_id, 1 repeated; expected one"),
        ({"user_id": ["a", None], "history": [["i00001"]] * 2}, "1 without a user_id"),
        ({"user_id": pl.Series([], dtype=pl.String), "history": pl.Series([], dtype=pl.List(pl.String))}, "0 rows"),
        ({"user_id": ["a"], "history": ["i00001"]}, "history is String; expected a list"),
        ({"user_id": ["a"]}, "has no column 'history'"),
        ({"user_id": [1.5], "history": [["i00001"]]}, "ids are integers of up to 64 bits or strings"),
        ({"user_id": ["a"], "history": [[1]]}, "item ids are Int64; the model was trained on String"),
    ],
)
def test_bad_queries_are_refused(run, tmp_path, queries, message):
    pl.DataFrame(queries).write_parquet(tmp_path / "queries.parquet")
    with pytest.raises(ValueError, match=message):
        run(queries=str(tmp_path / "queries.parquet"))


def test_new_users_and_items_of_a_later_day_are_welcome(small_run, retriever, run, tmp_path, many_partitions):
    """New users are answered from their history; those without a known item by the fallback, and it is told who."""
    last = small_run.events["timestamp"].max()
    later = pl.DataFrame({
        "user_id": ["new-1", "new-1", "new-1", "odd", "odd", "u00001", None, "lost", "new-1"],
        "item_id": ["i00001", "brand-new", "i00007", "brand-new", "other-new", "i00003", "i00001", None, "i00007"],
        "timestamp": [last + 1, last + 2, last + 3, last + 4, last + 5, last + 6, last + 7, last + 8, last + 3],
    })  # fmt: skip
    pl.concat([small_run.events, later]).write_parquet(tmp_path / "later.parquet")
    recs = run(events=str(tmp_path / "later.parquet")).group_by("user_id", maintain_order=True).agg("item_id")
    answers = dict(recs.iter_rows())
    assert set(answers) == {*small_run.events["user_id"], "new-1", "odd"}
    alone = retriever.recommend([["i00001", "i00007"], []], k=10)
    assert answers["new-1"] == alone.item_ids[0].to_list()
    assert answers["odd"] == alone.item_ids[1].to_list()
    assert "i00003" not in answers["u00001"]
    assert reasons(tmp_path / "recs") == {"odd": (10, FALLBACK)}
    totals = files.read_json(tmp_path / "recs" / "manifest.json")["totals"]
    expected = {"users": 302, "fallback": 1, "short": 0, "recommendations": 3_020}
    expected |= {"quarantined: no user_id": 1, "quarantined: no item_id": 1, "quarantined: duplicate": 1}
    assert {key: totals[key] for key in expected} == expected
    assert totals["rows"] == small_run.events.height + 9


def test_users_who_got_fewer_items_are_listed_with_the_reason(small_run, run, tmp_path):
    num_items = small_run.dataset.encoder.num_items
    recs = run(events=str(small_run.folder / "events.parquet"), k=num_items)
    seen = dict(small_run.events.unique(["user_id", "item_id"]).group_by("user_id").len().iter_rows())
    listed = reasons(tmp_path / "recs")
    assert len(listed) == 300
    for user_id, count in seen.items():
        assert listed[user_id] == (num_items - count, f"short: only {num_items - count} eligible items")
    assert recs.height == sum(count for count, _ in listed.values())


def test_ids_keep_the_types_of_the_input(integer_bundle, tmp_path):
    retriever, log = Retriever.load(integer_bundle), pl.read_parquet(tmp_path / "events.parquet")
    wide = log.cast({"user_id": pl.UInt32, "item_id": pl.Int32})
    expected = None
    for name, table in (("same", log), ("other", wide)):
        table.write_parquet(tmp_path / f"{name}.parquet")
        score(retriever, tmp_path / name, events=str(tmp_path / f"{name}.parquet"), k=5)
        recs = pl.read_parquet(tmp_path / name / "part-*.parquet")
        assert recs.schema["user_id"] == table.schema["user_id"]
        assert recs.schema["item_id"] == table.schema["item_id"]
        expected = recs if expected is None else expected
        assert recs.cast(expected.schema).equals(expected)
    queries = pl.DataFrame(
        {"user_id": [1, 2], "history": [[1, 2], []]}, schema_overrides={"history": pl.List(pl.Int16)}
    )
    queries.write_parquet(tmp_path / "queries.parquet")
    score(retriever, tmp_path / "q", queries=str(tmp_path / "queries.parquet"), k=5)
    assert pl.read_parquet(tmp_path / "q" / "part-*.parquet").schema["item_id"] == pl.Int16
    for column in ("user_id", "item_id"):
        log.with_columns(pl.col(column).cast(pl.String)).write_parquet(tmp_path / "text.parquet")
        with pytest.raises(ValueError, match="ids are String; the model was trained on Int64"):
            score(retriever, tmp_path / "text", events=str(tmp_path / "text.parquet"))
        assert not (tmp_path / "text").exists()


def test_an_empty_log_and_bad_arguments(small_run, run, tmp_path):
    small_run.events.clear().write_parquet(tmp_path / "empty.parquet")
    small_run.events.head(3).with_columns(item_id=pl.lit(None, pl.String)).write_parquet(tmp_path / "null.parquet")
    small_run.events.drop("timestamp").write_parquet(tmp_path / "timeless.parquet")
    nan = pl.lit(float("nan")).alias("timestamp")
    small_run.events.head(3).with_columns(nan).write_parquet(tmp_path / "nan.parquet")
    (tmp_path / "of-two-schemas").mkdir()
    pl.DataFrame({"user_id": ["a"], "history": [[1]]}).write_parquet(tmp_path / "of-two-schemas" / "a.parquet")
    pl.DataFrame({"user_id": ["b"], "history": ["1"]}).write_parquet(tmp_path / "of-two-schemas" / "b.parquet")
    (tmp_path / "torn.parquet").write_bytes((small_run.folder / "events.parquet").read_bytes()[:-100])
    log = str(small_run.folder / "events.parquet")
    for settings, message in (
        ({"events": str(tmp_path / "empty.parquet")}, "0 rows, none of them with a user, an item and a time"),
        ({"events": str(tmp_path / "null.parquet")}, "3 rows, none of them"),
        ({"events": str(tmp_path / "nan.parquet")}, "3 rows, none of them"),
        ({"queries": str(tmp_path / "of-two-schemas")}, r"history is List\(Int64\) in a.parquet, String in b.parquet"),
        ({"events": str(tmp_path / "timeless.parquet")}, "has no column 'timestamp'"),
        ({"events": str(tmp_path / "torn.parquet")}, "cannot read events"),
        ({"events": str(tmp_path / "nothing.parquet")}, "no table at"),
        ({"events": log, "k": 0}, "k is 0"),
        ({}, "give either --events"),
        ({"events": log, "queries": log}, "give either --events"),
    ):
        with pytest.raises(ValueError, match=message):
            run(**settings)
        assert not (tmp_path / "recs").exists()


def test_a_partition_without_users_has_an_empty_file(retriever, tmp_path, many_partitions):
    log = pl.DataFrame({"user_id": ["one"] * 700, "item_id": [f"i{n % 100:05d}" for n in range(700)],
                        "timestamp": range(700)})  # fmt: skip
    log.write_parquet(tmp_path / "log.parquet")
    totals = score(retriever, tmp_path / "recs", events=str(tmp_path / "log.parquet"), k=5).totals
    assert totals.users == 1
    parts = sorted((tmp_path / "recs").glob("*.parquet"))
    assert sorted(pl.read_parquet(path).height for path in parts) == [0, 0, 5]
    assert len({str(pl.read_parquet(path).schema) for path in parts}) == 1


def test_todays_items_are_recommended(small_run, retriever, tmp_path):
    rows = small_run.items.with_columns(item_id="new-" + pl.col("item_id"))
    rows.write_parquet(tmp_path / "items.parquet")
    newer = Retriever.load(small_run.run / "bundle", items=tmp_path / "items.parquet")
    source = {"events": str(small_run.folder / "events.parquet"), "k": 150}
    score(newer, tmp_path / "recs", **source)
    assert files.read_json(tmp_path / "recs" / "manifest.json")["metadata"] == newer.metadata_digest
    recs = pl.read_parquet(tmp_path / "recs" / "part-*.parquet")
    assert recs["item_id"].str.starts_with("new-").mean() > 0.2
    with pytest.raises(ValueError, match="holds scores of another metadata"):
        score(retriever, tmp_path / "recs", **source)
