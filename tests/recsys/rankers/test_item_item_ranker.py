"""A baseline serves in the order that evaluation ranks, and fills answers up by popularity."""

import numpy as np
import pytest

from recsys.bundle import load_bundle
from recsys.data.jagged import Jagged
from recsys.rankers import item_item_ranker
from recsys.retriever import Retriever
from training.evaluation.baselines import BASELINES, RankingTask

FITTED = [baseline for baseline in BASELINES if baseline.fit is not None]
NAMES = [baseline.name for baseline in FITTED]


@pytest.fixture(scope="module")
def retrievers(baseline_bundles):
    return {name: Retriever(*load_bundle(path)) for name, path in baseline_bundles.items()}


@pytest.fixture(scope="module")
def asked(retrievers, small_run):
    """Random histories with unknown, repeated and cold items; each holds a known one."""
    rng = np.random.default_rng(0)
    rows = [[*rng.integers(0, 201, rng.integers(0, 30)).tolist(), 7] for _ in range(59)] + [[7]]
    rows += [[position] for position in np.flatnonzero(small_run.dataset.item_counts == 0)[1:3]]
    return Jagged.from_rows(rows)


def task(small_run, asked, k):
    dataset = small_run.dataset
    return RankingTask(dataset.train()[1].whole(), dataset.encoder.num_items, True, asked, k)


@pytest.mark.parametrize("baseline", FITTED, ids=NAMES)
def test_what_serves_is_what_was_evaluated(retrievers, small_run, asked, baseline):
    """Popular items follow only where evaluation ranks nothing."""
    asked = asked.take(np.arange(60))  # for a history of cold items, EASE is evaluated by position
    evaluated = baseline.rank(task(small_run, asked, 150))
    served = retrievers[baseline.name].rank(asked, k=150).positions
    ranked = evaluated > 0
    assert (served > 0).all()
    if baseline.name == "item_knn":
        assert (~ranked).any()
    np.testing.assert_array_equal(served[ranked], evaluated[ranked])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("exclude_seen", [True, False])
def test_the_order_is_score_then_popularity_then_position(retrievers, small_run, asked, name, exclude_seen):
    retriever, counts = retrievers[name], small_run.dataset.item_counts
    allowed = np.random.default_rng(1).random(len(counts)) < 0.8
    ranking = retriever.rank(asked, k=200, exclude_seen=exclude_seen, allowed=allowed)
    scores = retriever.bundle.model.scores(asked)
    for query in range(len(asked)):
        seen = set(asked[query].tolist()) if exclude_seen else set()
        eligible = [item for item in range(1, 201) if allowed[item] and item not in seen]

        def order(item, row=scores[query]):
            score = row[item] if counts[item] else min(0, row.min())
            return -score, -counts[item] if score == 0 else 0, item

        assert ranking.positions[query, : len(eligible)].tolist() == sorted(eligible, key=order)
        assert not ranking.positions[query, len(eligible) :].any()
        assert (np.diff(ranking.scores[query, : len(eligible)]) <= 0).all()
        popular = sum(scores[query, item] == 0 for item in eligible)
        assert ranking.num_popular[query] == popular
        assert (f"to: {popular} of {len(eligible)} items" in (ranking.reasons(200)[query] or "")) == (popular > 0)


@pytest.mark.parametrize("name", NAMES)
def test_alone_in_a_batch_and_in_small_blocks_the_bits_are_the_same(retrievers, asked, name, monkeypatch):
    batch = retrievers[name].rank(asked, k=20)
    for query in range(0, len(asked), 7):
        alone = retrievers[name].rank(asked.take(np.array([query])), k=20)
        np.testing.assert_array_equal(alone.positions[0], batch.positions[query])
        np.testing.assert_array_equal(alone.scores[0], batch.scores[query])
    monkeypatch.setattr(item_item_ranker, "CELLS", 3 * 201)
    np.testing.assert_array_equal(retrievers[name].rank(asked, k=20).positions, batch.positions)


@pytest.mark.parametrize("name", ["item_knn", "ease"])
def test_similar_items_are_the_row_of_the_matrix(retrievers, name):
    retriever = retrievers[name]
    answers = retriever.similar_items(["i00001", "i00017"], k=200)
    for item_id, got, scores in zip(("i00001", "i00017"), answers.item_ids, answers.scores, strict=True):
        row = retriever.bundle.model.rows(retriever._catalogue.positions([item_id]))[0]
        expected = np.sort(row[row > 0])[::-1]
        np.testing.assert_array_equal(scores, expected)
        np.testing.assert_array_equal(row[retriever._catalogue.positions(got)], expected)
        assert item_id not in got
    assert f"short: only {len(answers.scores[0])} eligible items" in answers.reasons[0]


@pytest.mark.parametrize("name", ["item_knn", "ease"])
def test_an_explanation_is_the_terms_of_the_sum(retrievers, name):
    retriever, history = retrievers[name], ["i00017", "unknown", "i00040", "i00017", "i00143"]
    answers = retriever.recommend([history], k=5)
    for rank, (item_id, score) in enumerate(zip(answers.item_ids[0], answers.scores[0], strict=True), start=1):
        explanation = retriever.explain(history, item_id)
        assert explanation.score == score
        assert explanation.rank >= rank  # seen items are counted
        assert sorted(explanation.contributions["item_id"]) == ["i00017", "i00017", "i00040", "i00143"]
        assert explanation.contributions["contribution"].sum() == pytest.approx(score, rel=1e-6)


def test_what_a_baseline_cannot_do_is_one_clear_line(retrievers):
    ease, popularity = retrievers["ease"], retrievers["popularity"]
    with pytest.raises(ValueError, match=r"serves a baseline, EASE, which reads no text; ask a bundle of two towers"):
        ease.search_text(["silent witness"])
    with pytest.raises(ValueError, match="has no user vectors"):
        ease.encode(Jagged.from_rows([[1]]), np.zeros(1, np.int64))
    with pytest.raises(ValueError, match=r"serves a baseline, popularity, which knows no similar items"):
        popularity.similar_items(["i00001"])


def test_popularity_gives_shares_of_the_events_without_what_was_seen(retrievers, small_run):
    counts = small_run.dataset.item_counts
    first = int(np.argsort(-counts[1:], kind="stable")[0]) + 1
    known, unknown = (retrievers["popularity"].rank(Jagged.from_rows([[row]]), k=5) for row in (first, 0))
    assert first not in known.positions
    np.testing.assert_array_equal(known.positions[0, :4], unknown.positions[0, 1:])
    np.testing.assert_allclose(known.scores[0], counts[known.positions[0]] / counts.sum(), rtol=1e-6)
    assert known.reasons(5)[0] == "filled up: popular items, which nothing in the history leads to: 5 of 5 items"
    assert unknown.reasons(5)[0].startswith("fallback")
