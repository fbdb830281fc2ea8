"""Newer items in a loaded retriever: the answers of a rebuild, and never a mixture of two versions."""

import threading
import time

import numpy as np
import polars as pl
import pytest

from recsys.bundle import save_bundle
from recsys.errors import InputError
from recsys.retriever import Query, Retriever, folded, is_due_to_fold, with_items, with_metadata
from recsys.search import FreshIndex, whole

BATCHES, MOST = 12, 6  # of random operations, and how many are one change; benchmarks/refresh.py does 10,000


@pytest.fixture
def loaded(small_run):
    return Retriever.load(small_run.run / "bundle")


def operate(rng, catalogue, small_run, number):
    """Add, change and remove items at random; returns the table that says so, and whether it is the whole catalogue."""
    changed, removes = {}, False
    for step in range(rng.integers(1, MOST + 1)):
        row = small_run.items.row(int(rng.integers(small_run.items.height)), named=True)
        known = list(catalogue)[rng.integers(len(catalogue))]
        kind = rng.choice(["add", "change", "remove"], p=[0.4, 0.5, 0.1])
        if kind == "remove":
            del catalogue[known]
            changed.pop(known, None)
            removes = True
            continue
        item = f"new{number:02}{step}" if kind == "add" else known
        catalogue[item] = changed[item] = row | {"item_id": item}
    rows = list(catalogue.values()) if removes else list(changed.values())
    return pl.DataFrame(rows, schema=small_run.items.schema), removes


def test_random_operations_equal_a_rebuild(loaded, small_run):
    rng, live = np.random.default_rng(0), loaded
    catalogue = {row["item_id"]: row for row in loaded.bundle.items.iter_rows(named=True)}
    known, sizes = dict(catalogue), []  # what was removed is still known in histories, as it was last
    for number in range(BATCHES):
        table, complete = operate(rng, catalogue, small_run, number)
        known |= catalogue
        live = with_items(live, table, complete=complete)
        sizes.append(len(live.bundle.index.positions) if isinstance(live.bundle.index, FreshIndex) else 0)
        if number % 6 == 5:
            ever, now = (pl.DataFrame(list(rows.values()), schema=table.schema) for rows in (known, catalogue))
            bundle, _ = with_metadata(with_metadata(loaded.bundle, items=ever)[0], items=now, complete=True)
            require_equal(live, Retriever(bundle, "id"))
    assert max(sizes) > 0 == min(sizes)  # with newer rows beside the index, and with an index that was built again
    assert live.live.encoder.cold is not None


def require_equal(live, rebuilt):
    """Items whose scores differ by less than rounding may come in another order."""
    ids = rebuilt.bundle.items["item_id"]
    histories = [ids.sample(5, seed=seed).to_list() for seed in range(8)]
    some = ids.sample(30, seed=9).to_list()
    whole = [dict(zip(*row, strict=True)) for row in rows_of(rebuilt.recommend(histories, k=500, exclude_seen=False))]
    for options in (
        {"k": 500}, {"k": 10}, {"k": 10, "where": [("year", ">", 1950)]}, {"k": 10, "exclude": some},
        {"k": 10, "only": some},
    ):  # fmt: skip
        answers, expected = (rows_of(version.recommend(histories, **options)) for version in (live, rebuilt))
        for (items, scores), (others, wanted), score_of in zip(answers, expected, whole, strict=True):
            assert len(set(items)) == len(items)
            assert scores == pytest.approx(wanted, abs=1e-5)
            assert scores == pytest.approx([score_of[item] for item in items], abs=1e-5)
            assert options["k"] < 500 or set(items) == set(others)
    similar, expected = (version.similar_items(some, k=5).scores.to_list() for version in (live, rebuilt))
    for mine, theirs in zip(similar, expected, strict=True):
        assert mine == pytest.approx(theirs, abs=1e-5)


def rows_of(answer):
    return list(zip(answer.item_ids.to_list(), answer.scores.to_list(), strict=True))


def test_a_table_takes_the_place_of_another(loaded, small_run):
    first = with_items(loaded, small_run.items.head(3).with_columns(item_id=pl.Series(["a", "b", "c"])))
    changed = loaded.bundle.items.head(1).with_columns(year=pl.lit(1801, pl.Int64))
    second = with_items(with_items(first, changed), first.bundle.items[-1:], instead=True)
    history = loaded.bundle.encoder.item_ids[3:6].to_list()
    asked = {"k": 500, "exclude_seen": False}
    items = second.recommend([history], **asked).item_ids[0]
    assert set(items) == {*loaded.bundle.items["item_id"], "c"}
    alone = with_items(loaded, first.bundle.items[-1:]).recommend([history], **asked)
    assert items.to_list() == alone.item_ids[0].to_list()


def test_an_index_that_was_built_meanwhile_is_taken(loaded, small_run):
    new = [small_run.items.head(5).with_columns(item_id=pl.Series([f"{name}{n}" for n in range(5)])) for name in "ab"]
    first = with_items(loaded, new[0], fold=False)
    second = with_items(first, new[1], fold=False)
    assert is_due_to_fold(first)
    assert not isinstance(folded(first).bundle.index, FreshIndex)
    later = folded(second, whole(first.bundle.index))
    assert later.bundle.index.positions.tolist() == list(
        range(first.bundle.encoder.num_items + 1, second.bundle.encoder.num_items + 1)
    )
    history = [loaded.bundle.encoder.item_ids.head(4).to_list()]
    lists = [version.recommend(history, k=300) for version in (second, later, folded(second))]
    assert lists[0].scores.to_list() == lists[1].scores.to_list() == lists[2].scores.to_list()
    assert lists[0].item_ids.to_list() == lists[1].item_ids.to_list() == lists[2].item_ids.to_list()
    assert folded(loaded) is loaded


def test_a_live_bundle_can_be_saved(loaded, small_run, tmp_path):
    live = with_items(loaded, small_run.items.head(1).with_columns(item_id=pl.lit("new")), fold=False)
    save_bundle(live.bundle, tmp_path / "saved")
    saved, history = Retriever.load(tmp_path / "saved"), [["new", small_run.items["item_id"][9]]]
    assert saved.recommend(history, k=50).item_ids.to_list() == live.recommend(history, k=50).item_ids.to_list()


def test_a_complete_table_without_any_item_is_refused(loaded, small_run):
    with pytest.raises(InputError, match=r"items in memory hold none of the \d+ items"):
        with_items(loaded, small_run.items.head(0), complete=True)


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
    live = with_items(loaded, small_run.items.head(2).with_columns(item_id=pl.Series(["a", "b"])))
    assert sum(encoded) == 2
    encoded.clear()
    trained = loaded.bundle.items.head(1).with_columns(year=pl.lit(1801, pl.Int64))
    live = with_items(live, trained)
    assert sum(encoded) == 1 + num_cold + 2  # cold items borrow from trained ones
    encoded.clear()
    near = live.live.encoder.cold.near.rows  # by now it is known who borrows from whom
    lender = int(near[0, 0])
    with_items(live, live.bundle.items[lender - 1 : lender].with_columns(title=pl.lit("nothing like it")))
    assert (near == lender).any(axis=1).sum() < sum(encoded) <= 1 + num_cold + 2


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


def test_users_who_had_a_changed_item_are_encoded_again(small_run):
    retriever = Retriever.load(
        small_run.run / "bundle", events=str(small_run.folder / "events.parquet"), encode_ahead=True
    )
    item = retriever.bundle.items["item_id"][0]
    newer = with_items(retriever, retriever.bundle.items.head(1).with_columns(year=pl.lit(1801, pl.Int64)))
    known, history = newer.known_users, retriever.known_users.history
    had = history.count(history.values == 1) > 0
    assert known.is_stale.any()
    assert known.is_stale[had].all()  # and those of cold items that borrow from it
    users = retriever.known_users.user_ids.filter(pl.Series(had)).head(3).to_list()
    again = Retriever.load(
        small_run.run / "bundle", events=str(small_run.folder / "events.parquet"), items=newer.bundle.items
    )
    wanted = again.recommend(user_ids=users, k=20, exclude=[item]).item_ids.to_list()
    some = newer.encoded_ahead(newer, most=1)
    assert some.known_users.is_stale.sum() == known.is_stale.sum() - 1
    for version in (newer, some, newer.encoded_ahead(newer)):
        assert version.recommend(user_ids=users, k=20, exclude=[item]).item_ids.to_list() == wanted
    assert newer.encoded_ahead(newer).known_users.is_stale is None
