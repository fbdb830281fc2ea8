"""What a user gets, and never gets. Most tests ask a small trained model; its world is in conftest.py."""

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from recsys.answers import FALLBACK
from recsys.bundle import load_bundle, save_bundle
from recsys.errors import InputError
from recsys.retriever import Retriever
from serving.batch_scoring import score


def test_a_batch_single_requests_and_batch_scoring_agree(small_run, retriever, histories, tmp_path):
    batch = retriever.recommend(user_ids=histories["user_id"], k=20)
    score(retriever, tmp_path / "recs", events=str(small_run.folder / "events.parquet"), k=20)
    written = pl.read_parquet(tmp_path / "recs" / "part-*.parquet").group_by("user_id", maintain_order=True)
    written = written.agg("item_id", "score").sort("user_id")
    assert written["user_id"].equals(histories["user_id"])
    assert written["item_id"].to_list() == batch.item_ids.to_list()
    for row, (user_id, history) in enumerate(histories.iter_rows()):
        for alone in (
            retriever.recommend(user_ids=[user_id], k=20),
            retriever.recommend([history], user_ids=[user_id], k=20),
        ):
            assert alone.item_ids[0].equals(batch.item_ids[row])
            np.testing.assert_allclose(alone.scores[0], batch.scores[row], rtol=0, atol=1e-5)
        np.testing.assert_allclose(written["score"][row], batch.scores[row], rtol=0, atol=1e-5)
    assert batch.reasons.null_count() == len(batch) == 300
    assert batch.bundle_id == small_run.bundle_id


def test_exact_search_agrees_with_brute_force(retriever, histories):
    """In float64, ties by position, over every user."""
    bundle = retriever.bundle
    asked = retriever._reader.read(histories["item_id"], histories["user_id"])
    lists, rows = asked.history, asked.rows
    users = retriever.encode(lists, rows).astype(np.float64)
    scores = users @ bundle.item_vectors[1:].astype(np.float64).T
    scores[lists.row_of_value, lists.values - 1] = -np.inf
    expected = np.argsort(-np.float32(scores), axis=1, kind="stable")[:, :30] + 1
    found = retriever.rank(lists, rows, k=30)
    np.testing.assert_array_equal(found.positions, expected)
    np.testing.assert_array_equal(found.scores, np.take_along_axis(np.float32(scores), expected - 1, axis=1))


def check_random_requests(retriever, items, seed, count):
    """Random histories, exclusions, filters and k: nothing ineligible, nothing twice, short only with the reason."""
    rng = np.random.default_rng(seed)
    ids, years, genres = items["item_id"].to_numpy(), items["year"].to_numpy(), items["genre"].to_numpy()
    for _ in range(count // 20):
        size = int(rng.integers(0, 40)) if rng.random() < 0.7 else int(rng.integers(150, 230))
        lists = [list(rng.choice(ids, min(size, len(ids)), replace=False)) for _ in range(20)]
        lists = [row + ["unknown"] * int(rng.integers(0, 2)) if rng.random() < 0.9 else ["unknown"] for row in lists]
        exclude = list(rng.choice(ids, int(rng.integers(0, 180)), replace=False)) if rng.random() < 0.5 else None
        where, mask = [], np.ones(len(ids), bool)
        if rng.random() < 0.5:
            year = int(rng.choice(years))
            where, mask = [("year", ">=", year)], years >= year
        if rng.random() < 0.3:
            wanted = list(rng.choice(genres, 2))
            where, mask = [*where, ("genre", "in", wanted)], mask & np.isin(genres, wanted)
        k, exclude_seen = int(rng.integers(1, 250)), bool(rng.random() < 0.8)
        answers = retriever.recommend(lists, k=k, exclude=exclude, where=where, exclude_seen=exclude_seen)
        everyone = set(ids[mask]) - set(exclude or ())
        for history, got, scores, reason in zip(lists, answers.item_ids, answers.scores, answers.reasons, strict=True):
            eligible = everyone - set(history) if exclude_seen else everyone
            assert set(got) <= eligible
            assert len(got) == len(set(got)) == len(scores) == min(k, len(eligible))
            assert np.all(np.diff(scores) <= 0)
            assert scores.is_finite().all()
            known = set(history) & set(ids)
            assert (reason or "").startswith("fallback") == (not known)
            assert (f"short: only {len(got)} eligible items" in (reason or "")) == (len(got) < k)
            assert (reason is None) == bool(known and len(got) == k)


@pytest.mark.parametrize("seed", range(3))
def test_random_requests_get_only_eligible_items(retriever, items, seed):
    check_random_requests(retriever, items, seed, 1_000)


def test_an_unknown_user_gets_the_most_popular_items_with_the_reason(small_run, retriever, items):
    counts = small_run.dataset.item_counts[1:]
    popular = items["item_id"].gather(np.argsort(-counts, kind="stable"))
    answers = retriever.recommend([[], ["unknown"], [None, math.nan]], k=5)
    for row in range(3):
        assert answers.item_ids[row].to_list() == popular.head(5).to_list()
        assert answers.reasons[row] == FALLBACK
        np.testing.assert_allclose(answers.scores[row], np.sort(counts)[::-1][:5] / counts.sum(), rtol=1e-6)
    by_id = retriever.recommend(user_ids=["nobody", None], k=5)
    assert by_id.item_ids.to_list() == answers.item_ids[:2].to_list()
    assert by_id.reasons.to_list() == [FALLBACK] * 2


def test_the_fallback_keeps_exclusions_and_filters(retriever, items):
    top = retriever.recommend([[]], k=1).item_ids[0].to_list()
    year = items["year"].max()
    answers = retriever.recommend([[]], k=500, exclude=top, where=[("year", "==", year)])
    expected = set(items.filter(year=year)["item_id"]) - set(top)
    assert set(answers.item_ids[0]) == expected
    assert answers.reasons[0] == f"{FALLBACK}; short: only {len(expected)} eligible items"


def test_seen_items_return_only_on_request(retriever, histories):
    everything = retriever.bundle.encoder.num_items
    history = histories["item_id"][0].to_list()
    assert set(retriever.recommend([history], k=everything, exclude_seen=False).item_ids[0]) >= set(history)
    assert not set(retriever.recommend([history], k=everything).item_ids[0]) & set(history)


def test_unknown_and_missing_ids_in_a_history_are_ignored(retriever, histories):
    history, user = histories["item_id"][3].to_list(), histories["user_id"][3]
    plain = retriever.recommend([history], k=9)
    noisy = retriever.recommend([[None, *history[:4], "unknown", *history[4:], math.nan]], k=9)
    assert noisy.item_ids.equals(plain.item_ids)
    assert noisy.scores.equals(plain.scores)
    twice = retriever.recommend(user_ids=[user, user], k=9)
    assert twice.item_ids[0].equals(twice.item_ids[1])


def test_a_long_history_is_cut_to_its_end_but_excluded_as_a_whole(retriever, items):
    length = retriever.bundle.model.spec.max_history
    recent = (items["item_id"].head(20).to_list() * length)[:length]
    long = items["item_id"][100:].to_list() * 50 + recent
    answers = retriever.recommend([long, recent], k=80, exclude=items["item_id"][100:])
    np.testing.assert_allclose(answers.scores[0], answers.scores[1], atol=1e-5)
    assert not set(answers.item_ids[0]) & set(long)


def test_the_features_of_a_known_user_change_the_scores(retriever, histories):
    history = [histories["item_id"][0]] * 3
    ages = retriever.bundle.users.with_columns(age=pl.col("age").arr.first()).sort("age")["user_id"]
    known = retriever.recommend(history, user_ids=[ages[0], ages[-1], "nobody"], k=5)
    anonymous = retriever.recommend(history[:1], k=5)
    assert known.scores[2].equals(anonymous.scores[0])
    assert not known.scores[0].equals(known.scores[1])
    assert not known.scores[0].equals(known.scores[2])


def test_histories_can_be_lists_arrays_or_columns(retriever, histories):
    expected = retriever.recommend([histories["item_id"][0].to_list()], k=5)
    row = histories["item_id"][0]
    for histories_ in ([row], [row.to_numpy()], [tuple(row)], histories["item_id"][:1], pl.Series([row.to_list()])):
        assert retriever.recommend(histories_, k=5).item_ids.equals(expected.item_ids)
    assert len(retriever.recommend([], k=5)) == len(retriever.recommend(user_ids=[], k=5)) == 0


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({}, "nobody to recommend to"),
        ({"histories": [["i00001"]], "k": 0}, "k is 0; expected a whole number, at least 1"),
        ({"histories": [["i00001"]], "k": 2.5}, "k is 2.5; expected a whole number"),
        ({"histories": [["i00001"]], "k": True}, "k is True"),
        ({"histories": [[1, 2]]}, r"histories hold \[\[1, 2\]\]; expected lists of String item ids"),
        ({"histories": [["i00001", 2]]}, "expected lists of String item ids"),
        ({"histories": pl.Series([[1, 2]])}, "item ids are Int64; the model was trained on String"),
        ({"histories": ["i00001", "i00002"]}, "a history is 'i00001'; expected a list of item ids for each user"),
        ({"histories": pl.Series(["i00001"])}, "histories are String; expected a list"),
        ({"histories": "i00001"}, "histories are 'i00001'; expected a list"),
        ({"histories": 5}, "histories are 5; expected a list"),
        ({"user_ids": "u00001"}, "user ids are 'u00001'; expected a list of ids"),
        ({"user_ids": [7]}, "user ids are Int64; the model was trained on String"),
        ({"user_ids": ["a", 7]}, "user ids are of different types"),
        ({"user_ids": ["\ud800"]}, "user ids hold text that is no Unicode"),
        ({"histories": [["i00001", "\udcff"]]}, "expected lists of String item ids"),
        ({"histories": [["i00001"]], "user_ids": ["a", "b"]}, "2 user_ids but 1 histories"),
        ({"histories": [["i00001"]], "exclude": "i00001"}, "item ids are 'i00001'; expected a list of ids"),
        ({"histories": [["i00001"]], "exclude": [1]}, "item ids are Int64; the model was trained on String"),
        ({"histories": [["i00001"]], "where": [("colour", "==", 1)]}, "where: no column 'colour'; the items have"),
        ({"histories": [["i00001"]], "where": [("year", ">=", "x")]}, "where: year >= 'x' does not fit"),
    ],
)  # fmt: skip
def test_a_bad_request_is_one_clear_line(retriever, request_, message):
    with pytest.raises(ValueError, match=message) as raised:
        retriever.recommend(**request_)
    assert "\n" not in str(raised.value)


def test_integer_ids_of_any_width_are_accepted_and_text_is_not(integer_bundle, tmp_path):
    retriever = Retriever.load(integer_bundle, events=tmp_path / "events.parquet")
    expected = retriever.recommend([[1, 2]], k=5)
    for row in (
        np.array([1, 2], np.int16),
        pl.Series([1, 2], dtype=pl.UInt64),
        [np.int32(1), 2],
        [1, None, 2, math.nan],
    ):
        assert retriever.recommend([row], k=5).item_ids.equals(expected.item_ids)
    assert len(retriever.recommend(user_ids=np.array([3], np.int8), k=5)) == 1
    for bad in ({"histories": [["1", "2"]]}, {"user_ids": ["3"]}, {"histories": [[1, 2]], "exclude": ["3"]}):
        with pytest.raises(ValueError, match=r"String|Int64"):
            retriever.recommend(**bad)
    with pytest.raises(ValueError, match="train one with it to search by text"):
        retriever.search_text(["anything"])


def test_threads_can_share_a_retriever(small_run, retriever, histories):
    fresh = Retriever.load(small_run.run / "bundle", events=small_run.folder / "events.parquet")

    def ask(start):
        users = histories["user_id"][start : start + 40]
        return (
            fresh.recommend(user_ids=users, k=20).item_ids.to_list(),
            fresh.similar_items(["i00001"]).item_ids.to_list(),
            fresh.search_text(["silent witness"]).item_ids.to_list(),
            fresh.recommend([[]]).item_ids.to_list(),
        )

    starts = [*range(0, 300, 40)] * 2
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(ask, starts))
    assert together == [ask(start) for start in starts]


def test_a_retriever_leaves_its_bundle_unchanged(small_run, tmp_path):
    bundle, bundle_id = load_bundle(small_run.run / "bundle")
    Retriever(bundle, bundle_id).recommend([["i00001"]])
    assert save_bundle(replace(bundle), tmp_path / "again") == bundle_id


def test_new_items_are_recommended_and_answers_name_their_metadata(small_run, tmp_path, histories):
    """New items are recommended, and every answer says with which metadata."""
    folder, plain = small_run.folder, Retriever.load(small_run.run / "bundle")
    assert plain.metadata_digest is None
    rows = small_run.items.with_columns(item_id="new-" + pl.col("item_id"))
    rows.write_parquet(tmp_path / "items.parquet")
    newer = Retriever.load(small_run.run / "bundle", items=tmp_path / "items.parquet", users=folder / "users.parquet")
    answers = newer.recommend(histories["item_id"], k=400)
    assert answers.bundle_id == small_run.bundle_id
    assert answers.metadata_digest == newer.metadata_digest is not None
    assert newer.explain(["i00001"], "new-i00001").metadata_digest == newer.metadata_digest
    assert set(answers.item_ids[0]) >= set(rows["item_id"])
    same = Retriever.load(small_run.run / "bundle", items=folder / "items.parquet", users=folder / "users.parquet")
    assert same.metadata_digest != newer.metadata_digest
    np.testing.assert_allclose(
        same.recommend(histories["item_id"], k=10).scores.explode(),
        plain.recommend(histories["item_id"], k=10).scores.explode(),
        atol=1e-5,
    )


@pytest.mark.parametrize("odd", [{"i1": 1}, {"i1"}, b"i1", "i1", 5, [["i1"], "i2"]], ids=str)
def test_odd_histories_are_one_line(retriever, odd):
    with pytest.raises(InputError) as refused:
        retriever.recommend(odd)
    assert "\n" not in str(refused.value)
