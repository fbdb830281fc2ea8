"""Baselines against dense brute force, the promises that every ranking keeps, and the table of baselines."""

from dataclasses import replace
from typing import get_args

import numpy as np
import polars as pl
import pytest

from recsys.config import BaselineName, GateConfig
from recsys.data.jagged import Jagged
from recsys.lexical import LexicalIndex
from recsys.retriever import Retriever
from tests.small_histories import NUM_ITEMS, K, best, random_rows
from training.evaluation import baselines, evaluate, item_knn
from training.evaluation.baselines import BASELINES, Baseline, RankingTask, label
from training.evaluation.metadata_knn import metadata_knn

NUM_FEATURES = 7


def random_features(seed):
    """Few features with small whole values, some items without any."""
    rng = np.random.default_rng(seed)
    features = rng.integers(1, 4, (NUM_ITEMS + 1, NUM_FEATURES)) * (rng.random((NUM_ITEMS + 1, NUM_FEATURES)) < 0.3)
    features[0] = 0
    return features.astype(np.float64)


def rankings(histories, k, candidates=None):
    """All three baselines on one small world."""
    _, train = random_rows(0, 80)
    counts = np.bincount(train.values, minlength=NUM_ITEMS + 1)
    return {
        "popularity": baselines.popularity(counts, histories, k, candidates=candidates),
        "item_knn": item_knn.item_knn(train, NUM_ITEMS, histories, k, candidates=candidates),
        "metadata_knn": metadata_knn(random_features(0), histories, k, candidates=candidates),
    }


@pytest.mark.parametrize("half_life", [None, 2.0])
def test_ease_is_a_ridge_regression_of_every_item_on_the_others(half_life):
    rows, train = random_rows(1, 60)
    queries, histories = random_rows(2, 25)
    seen = np.zeros((len(rows), NUM_ITEMS + 1))
    for user, row in enumerate(rows):
        seen[user, [item for item in row if item > 0]] = 1
    model = np.zeros((NUM_ITEMS + 1, NUM_ITEMS + 1))
    for item in range(1, NUM_ITEMS + 1):
        others = [other for other in range(1, NUM_ITEMS + 1) if other != item]
        gram = seen[:, others].T @ seen[:, others] + 5.0 * np.eye(len(others))
        model[others, item] = np.linalg.solve(gram, seen[:, others].T @ seen[:, item])
    actual = baselines.ease(train, NUM_ITEMS, histories, K, l2=5.0, half_life=half_life)
    for query, history in enumerate(queries):
        score = np.zeros(NUM_ITEMS + 1)
        for age, item in enumerate(reversed(history)):
            score += (item > 0) * (1.0 if half_life is None else 0.5 ** (age / half_life)) * model[item]
        score[seen.sum(axis=0) == 0] = -np.inf  # nobody has them
        expected = best(score.round(6), history, K)
        np.testing.assert_allclose(score[actual[query]], score[expected], atol=1e-5)
        assert not set(actual[query]) & set(history) - {0}


def test_popularity_is_the_order_of_counts():
    counts = np.array([99, 5, 7, 5, 0, 7])
    ranked = baselines.popularity(counts, Jagged.from_rows([[], [2, 0], [1, 2, 3, 5]]), 4)
    assert ranked.tolist() == [[2, 5, 1, 3], [5, 1, 3, 4], [4, 0, 0, 0]]
    assert ranked.dtype == np.int32


def test_popularity_tells_large_counts_apart():
    counts = np.array([0, 2**24, 2**24 + 1])
    assert baselines.popularity(counts, Jagged.from_rows([[]]), 2).tolist() == [[2, 1]]


def test_metadata_knn_reaches_a_cold_item_that_item_knn_cannot():
    _, histories = random_rows(6, 20)
    cold = np.arange(NUM_ITEMS + 1) > NUM_ITEMS - 3
    actual = rankings(histories, K, cold)
    assert not actual["item_knn"].any()
    assert (actual["metadata_knn"] > NUM_ITEMS - 3).any()


@pytest.mark.parametrize("name", ["popularity", "item_knn", "metadata_knn"])
def test_history_is_never_returned_nor_an_item_twice(name):
    rows, histories = random_rows(7, 50)
    for row, ranking in zip(rows, rankings(histories, NUM_ITEMS + 5)[name].tolist(), strict=True):
        ranked = [item for item in ranking if item]
        assert not set(ranked) & set(row)
        assert len(set(ranked)) == len(ranked)
        assert ranking == ranked + [0] * (len(ranking) - len(ranked))  # padding comes last


@pytest.mark.parametrize("name", ["popularity", "item_knn", "metadata_knn"])
def test_candidates_keep_the_order_of_the_whole_ranking(name):
    _, histories = random_rows(8, 50)
    candidates = np.random.default_rng(8).random(NUM_ITEMS + 1) < 0.5
    whole = rankings(histories, NUM_ITEMS)[name]
    for full, actual in zip(whole.tolist(), rankings(histories, K, candidates)[name].tolist(), strict=True):
        allowed = [item for item in full if item and candidates[item]]
        assert actual == (allowed + [0] * K)[:K]


@pytest.mark.parametrize("name", ["popularity", "item_knn", "metadata_knn"])
def test_block_size_changes_nothing(name, monkeypatch):
    _, histories = random_rows(9, 50)
    whole = rankings(histories, K)[name]
    monkeypatch.setattr(baselines, "CELLS", 4 * (NUM_ITEMS + 1))
    assert (rankings(histories, K)[name] == whole).all()


def test_no_queries_give_no_rankings():
    for ranked in rankings(Jagged.from_rows([]), K).values():
        assert ranked.shape == (0, K)


TRAINING = Jagged.from_rows([[1, 2, 3], [2, 3, 4], [3, 4], [0, 4]])
ASKED = Jagged.from_rows([[1, 2], [4, 3, 2]])


def task(*, ordered=True, num_items=4):
    return RankingTask(TRAINING, num_items, ordered, ASKED, k=3)


def test_labels_are_what_people_read():
    assert [label(baseline.name) for baseline in BASELINES] == ["popularity", "item-kNN", "EASE", "BM25"]
    assert label("model") == "model"


def test_popularity_counts_known_items_only():
    np.testing.assert_array_equal(baselines.rank_by_popularity(task()), [[3, 4, 0], [1, 0, 0]])


@pytest.mark.parametrize("ordered", [True, False])
def test_recent_items_weigh_more_where_there_is_an_order(ordered):
    half_life, ease_half_life = (baselines.KNN_HALF_LIFE, baselines.EASE_HALF_LIFE) if ordered else (None, None)
    np.testing.assert_array_equal(
        baselines.rank_by_item_knn(task(ordered=ordered)),
        item_knn.item_knn(TRAINING, 4, ASKED, 3, half_life=half_life),
    )
    np.testing.assert_array_equal(
        baselines.rank_by_ease(task(ordered=ordered)), baselines.ease(TRAINING, 4, ASKED, 3, half_life=ease_half_life)
    )


def test_what_the_gate_requires_applies_to_every_catalogue():
    huge = task(num_items=10**9)
    assert [baseline.name for baseline in BASELINES if not baseline.applies(huge)] == ["ease", "bm25"]
    assert "ease" not in GateConfig().must_beat
    assert [baseline.name for baseline in BASELINES if baseline.conditional] == ["bm25"]


def test_bm25_ranks_where_most_queries_are_a_text_alone():
    lexical = LexicalIndex.build(pl.Series(["a bear", "the sea", "a bear at sea", ""]))
    texts = replace(task(), histories=Jagged.from_rows([[], [0], [1]]), lexical=lexical, texts=["sea", "bear", "sea"])
    assert texts.asks_by_text
    assert baselines.rank_by_words(texts).tolist() == [[2, 3, 0], [1, 3, 0], [2, 3, 0]]
    for other in (replace(texts, texts=None), replace(texts, lexical=None), replace(texts, texts=["sea", None, "sea"])):
        assert not other.asks_by_text


def test_the_gate_can_name_every_baseline():
    assert get_args(BaselineName) == tuple(baseline.name for baseline in BASELINES)


def test_one_line_adds_a_baseline(small_run, monkeypatch):
    """It is ranked, compared with the model, and part of every slice."""
    backwards = Baseline("backwards", "backwards", lambda task: np.full((len(task.histories), task.k), 7, np.int32))
    monkeypatch.setattr(evaluate, "BASELINES", (backwards,))
    retriever, dataset = Retriever.load(small_run.run / "bundle"), small_run.dataset
    evaluated = evaluate.rank_queries(retriever, dataset.queries("test"), dataset)
    figures = evaluate.summarise(evaluated, retriever, dataset)
    assert set(figures.methods) == set(figures.exposure) == {"model", "backwards"}
    assert set(figures.differences) == {"backwards"}
    assert {name for part in figures.slices for name in part.methods} == {"model", "backwards"}
    assert evaluate.per_query(evaluated).columns == ["user_id", "model", "backwards"]


def test_baselines_of_a_large_log_are_fitted_on_whole_histories_of_some_users(small_run, monkeypatch):
    _, histories = small_run.dataset.train()
    assert not baselines.histories_to_fit(small_run.dataset).values.flags.owndata
    monkeypatch.setattr(baselines, "MAX_EVENTS", histories.num_values // 2)
    some = baselines.histories_to_fit(small_run.dataset)
    assert 0.4 * histories.num_values < len(some.values) <= histories.num_values // 2
    whole = {tuple(row) for row in map(histories.whole().__getitem__, range(len(histories)))}
    assert {tuple(row) for row in map(some.__getitem__, range(len(some)))} < whole
