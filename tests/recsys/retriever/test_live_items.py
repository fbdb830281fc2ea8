"""Newer items in a loaded retriever: the answers of a rebuild, and never a mixture of two versions."""

import threading
import time

import numpy as np
import polars as pl
import pytest

from recsys.retriever import Query, Retriever, with_items

OPERATIONS = 25  # the rebuild at the end is the same for any number


@pytest.fixture
def loaded(small_run):
    return Retriever.load(small_run.run / "bundle")


def operation(rng, small_run, number):
    """One random row: a new item, or a known one with the metadata of another."""
    row = small_run.items[int(rng.integers(small_run.items.height))]
    known = rng.random() < 0.5
    item_id = small_run.items["item_id"][int(rng.integers(small_run.items.height))] if known else f"new{number}"
    return row.with_columns(item_id=pl.lit(item_id))


def test_random_operations_equal_a_rebuild(loaded, small_run):
    rng, live, rows = np.random.default_rng(0), loaded, {}
    for number in range(OPERATIONS):
        row = operation(rng, small_run, number % 20)
        live, rows[row["item_id"][0]] = with_items(live, row), row
    table = pl.concat(rows.values())
    rebuilt = Retriever.load(small_run.run / "bundle", items=table)
    histories = small_run.dataset.queries("test").get_column("history").to_list()[:50]
    everything = rebuilt.bundle.encoder.num_items
    answers, expected = (version.recommend(histories, k=everything) for version in (live, rebuilt))
    for ids, scores, want, wanted in zip(
        answers.item_ids, answers.scores, expected.item_ids, expected.scores, strict=True
    ):
        assert ids.n_unique() == len(ids)
        mine, theirs = dict(zip(ids, scores, strict=True)), dict(zip(want, wanted, strict=True))
        assert mine.keys() == theirs.keys()
        assert [mine[item] for item in theirs] == pytest.approx(list(theirs.values()), abs=1e-5)
    complete = with_items(live, table, complete=True)
    again = with_items(complete, loaded.bundle.items)
    assert set(again.recommend(histories[:1], k=everything, exclude_seen=False).item_ids[0]) == set(
        rebuilt.bundle.items["item_id"]
    )
    assert set(complete.recommend(histories[:1], k=everything, exclude_seen=False).item_ids[0]) == set(table["item_id"])


def test_only_rows_that_differ_are_encoded(loaded, small_run, monkeypatch):
    encoded = []
    real = type(loaded.bundle.model).encode_items
    monkeypatch.setattr(
        type(loaded.bundle.model),
        "encode_items",
        lambda self, rows, *rest: encoded.append(len(rows)) or real(self, rows, *rest),
    )
    num_cold = loaded.bundle.encoder.num_items - loaded.bundle.encoder.num_trained
    with_items(loaded, small_run.items)
    assert sum(encoded) == 0
    with_items(loaded, small_run.items.head(2).with_columns(item_id=pl.Series(["a", "b"])))
    assert sum(encoded) == 2
    encoded.clear()
    trained = loaded.bundle.items.head(1).with_columns(year=pl.lit(1801, pl.Int64))
    with_items(loaded, trained)
    assert sum(encoded) == 1 + num_cold  # cold items borrow from trained ones


def test_a_request_sees_one_version_of_all_items(loaded, small_run):
    item = loaded.bundle.items["item_id"][0]
    others = small_run.items.filter(pl.col("item_id") != item).head(5)
    added = small_run.items.head(1).with_columns(item_id=pl.lit("new"))
    versions = [
        with_items(loaded, pl.concat([others, added]).with_columns(title=pl.lit(name))) for name in ("one", "two")
    ]
    current, stop, mixed = [versions[0]], threading.Event(), []
    expected = [version.answer([Query(history=[item], k=50)]) for version in versions]
    allowed = [(answer.item_ids[0].to_list(), answer.scores[0].to_list()) for answer in expected]

    def ask():
        while not stop.is_set():
            answer = current[0].answer([Query(history=[item], k=50)])
            if (answer.item_ids[0].to_list(), answer.scores[0].to_list()) not in allowed:
                mixed.append(answer)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for turn in range(20):
        current[0] = versions[turn % 2]
        time.sleep(0.01)
    stop.set()
    for thread in threads:
        thread.join()
    assert not mixed
    assert loaded.bundle.encoder.positions(pl.Series(["new"]))[0] == 0  # what it was made from is as it was


def test_users_and_mask_stay(retriever, small_run):
    user = small_run.events["user_id"][0]
    newer = with_items(retriever, small_run.items)
    answers = [version.recommend(user_ids=[user]).item_ids.to_list() for version in (newer, retriever)]
    assert answers[0] == answers[1]
