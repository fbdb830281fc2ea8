"""The hybrid search gives what scoring every item would give."""

import numpy as np
import polars as pl
import pytest

from recsys.data.jagged import Jagged
from recsys.lexical import HybridIndex, LexicalIndex, VectorStatistics, fused, moments, z_scores
from recsys.search import ItemIndex

N, D = 3_000, 16


@pytest.fixture(scope="module")
def world():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(N + 1, D)).astype(np.float32)
    vectors[0] = 0
    words = [" ".join(f"w{word}" for word in rng.zipf(1.3, 12) % 500) for _ in range(N)]
    return vectors, words, LexicalIndex.build(pl.Series(words)), ItemIndex.build(vectors, kind="exact")


def brute(vectors, lexical, query, text, weight, allowed, barred):
    """Every item by its z-scores, the plain way."""
    inner = vectors[1:].astype(np.float64) @ query.astype(np.float64)
    by_vector = (inner - inner.mean()) / inner.std()
    words = lexical.scores_of(text)
    by_word = np.zeros(N) if words is None else (words[1:] - words[1:].mean()) / words[1:].std()
    score = (1 - weight) * by_vector + weight * by_word
    eligible = np.ones(N, bool) if allowed is None else allowed[1:].copy()
    eligible[barred - 1] = False
    rows = np.flatnonzero(eligible)
    return 1 + rows[np.lexsort((rows, -by_vector[rows], -score[rows]))], score


@pytest.mark.parametrize("weight", [0.01, 0.3, 0.7, 1.0])
@pytest.mark.parametrize("share", [1.0, 0.5, 0.01])
def test_answers_are_those_of_scoring_every_item(world, weight, share):
    vectors, words, lexical, index = world
    rng = np.random.default_rng(1)
    hybrid = HybridIndex(index, vectors, lexical, weight)
    texts = [words[5], "w1 w2 w3", "unheard", "", "w1", *words[10:20]]
    queries = rng.normal(size=(len(texts), D)).astype(np.float32)
    allowed = None if share == 1 else rng.random(N + 1) < share
    excluded = Jagged.from_rows([rng.integers(1, N + 1, 200) for _ in texts])
    positions, scores = hybrid.search(queries, texts, 10, excluded=excluded, allowed=allowed)
    for row, text in enumerate(texts):
        expected, score = brute(vectors, lexical, queries[row], text, weight, allowed, excluded[row])
        best = expected[:10]
        assert positions[row, : len(best)].tolist() == best.tolist()
        assert not positions[row, len(best) :].any()
        if lexical.scores_of(text) is not None:
            np.testing.assert_allclose(scores[row, : len(best)], score[best - 1], rtol=1e-4, atol=1e-5)


def test_all_items_are_answered_if_so_many_are_asked_for(world):
    vectors, words, lexical, index = world
    positions, _ = HybridIndex(index, vectors, lexical, 0.5).search(vectors[[7]], [words[6]], N)
    assert sorted(positions[0].tolist()) == list(range(1, N + 1))


def test_statistics_are_those_of_all_inner_products(world):
    vectors = world[0] + 0.5
    query = np.random.default_rng(2).normal(size=D)
    inner = vectors[1:].astype(np.float64) @ query
    np.testing.assert_allclose(VectorStatistics.of(vectors).of_scores(query), (inner.mean(), inner.std()), rtol=1e-6)
    scores = np.array([0, 3, 4, 0], np.float32)
    np.testing.assert_allclose(moments(scores), (scores.mean(), scores.std()))


def test_scores_that_are_all_equal_say_nothing():
    assert z_scores(np.array([2.0, 2.0]), 2.0, 0.0).tolist() == [0, 0]
    assert fused(np.array([1.0]), np.array([3.0]), 0.25).tolist() == [1.5]
