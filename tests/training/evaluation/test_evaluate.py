"""Figures through the shipped Retriever: perfect and hopeless rankings, slices, and what the records say."""

import copy
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch

from recsys import metrics
from recsys.data.jagged import Jagged
from training import validation
from training.batches import make_loader
from training.description import TrainingDescription
from training.evaluation import baselines, evaluate
from training.evaluation.baselines import MODEL
from training.evaluation.evaluate import per_query, rank_queries, summarise
from training.evaluation.records import model_of
from training.validation import validation_set

POPULARITY, ITEM_KNN, EASE = "popularity", "item_knn", "ease"


@pytest.fixture(scope="module")
def queries(small_run):
    return small_run.dataset.queries("test")


@pytest.fixture(scope="module")
def evaluated(small_run, retriever, queries):
    return rank_queries(retriever, queries, small_run.dataset)


@pytest.fixture(scope="module")
def summary(small_run, retriever, evaluated):
    return summarise(evaluated, retriever, small_run.dataset)


def test_the_model_is_ranked_by_what_ships(retriever, queries, evaluated):
    answers = retriever.recommend(queries["history"], user_ids=queries["user_id"], k=100)
    for row in range(queries.height):
        ids = retriever.bundle.encoder.ids(evaluated.ranked[MODEL][row])
        assert ids.to_list() == answers.item_ids[row].to_list()
    assert set(evaluated.ranked) == {MODEL, POPULARITY, ITEM_KNN, EASE}


def test_a_large_catalogue_goes_without_ease(small_run, retriever, queries, monkeypatch):
    monkeypatch.setattr(baselines, "EASE_LIMIT", retriever.bundle.encoder.num_items - 1)
    assert set(rank_queries(retriever, queries, small_run.dataset).ranked) == {MODEL, POPULARITY, ITEM_KNN}


def test_baselines_know_what_a_refit_was_trained_on(small_run, retriever, queries, evaluated):
    refitted = replace(small_run.dataset, with_validation=True)
    ranked = rank_queries(retriever, queries, refitted).ranked
    counts = refitted.train()[1].count_codes(retriever.bundle.encoder.num_items + 1)
    assert counts[1:].sum() > small_run.dataset.item_counts.sum()
    expected = baselines.popularity(counts, evaluated.history, evaluated.ranked[POPULARITY].shape[1])
    np.testing.assert_array_equal(ranked[POPULARITY], expected)
    for name in (POPULARITY, ITEM_KNN, EASE):
        assert (ranked[name] != evaluated.ranked[name]).any()


def test_block_size_changes_nothing(small_run, retriever, queries, evaluated, monkeypatch):
    monkeypatch.setattr(evaluate, "QUERIES_AT_ONCE", 7)
    np.testing.assert_array_equal(rank_queries(retriever, queries, None).ranked[MODEL], evaluated.ranked[MODEL])


def test_no_method_recommends_the_history(evaluated):
    for ranked in evaluated.ranked.values():
        assert not metrics.hits(ranked, evaluated.history).any()


def test_perfect_is_one_and_hopeless_is_zero(small_run, retriever, evaluated):
    known = evaluated.targets.values[evaluated.targets.offsets[:-1]]
    assert known.all()
    perfect = np.zeros((len(known), 100), np.int32)
    perfect[:, 0] = known
    ranked = {MODEL: perfect, POPULARITY: np.zeros_like(perfect), ITEM_KNN: np.roll(perfect, 1, axis=1)}
    found = summarise(replace(evaluated, ranked=ranked), retriever, small_run.dataset)
    figures = found.methods
    for metric in ("recall@10", "ndcg@10", "mrr@100", "ndcg@100"):
        assert (figures[MODEL][metric].mean, figures[POPULARITY][metric].mean) == (1.0, 0.0)
    assert figures[ITEM_KNN]["ndcg@10"].mean == pytest.approx(1 / np.log2(3))
    assert figures[ITEM_KNN]["mrr@10"].mean == 0.5
    assert found.differences[POPULARITY] == metrics.Interval(1.0, 1.0, 1.0)
    for entry in found.slices:
        assert (entry.methods[MODEL].mean, entry.methods[POPULARITY].mean) == (1.0, 0.0)


def test_the_table_per_query_has_the_means_of_the_figures(queries, evaluated, summary):
    table = per_query(evaluated)
    assert table.columns == ["user_id", MODEL, POPULARITY, ITEM_KNN, EASE]
    assert table["user_id"].equals(queries["user_id"])
    for name in (MODEL, POPULARITY, ITEM_KNN, EASE):
        assert table[name].mean() == pytest.approx(summary.headline_of(name).mean)


def test_figures_of_all_methods(small_run, summary):
    assert summary.bundle_id == small_run.bundle_id
    assert summary.num_queries == 300
    assert set(summary.methods) == {MODEL, POPULARITY, ITEM_KNN, EASE}
    for figures in summary.methods.values():
        assert set(figures) == {f"{name}@{k}" for name in ("recall", "ndcg", "mrr") for k in (10, 20, 100)}
        assert all(figure.low < figure.mean < figure.high for figure in figures.values())
    model, popularity = summary.exposure[MODEL], summary.exposure[POPULARITY]
    assert model.coverage_at_100 > popularity.coverage_at_100
    assert model.novelty_at_10 > popularity.novelty_at_10
    assert model.gini_at_10 < popularity.gini_at_10


def test_a_repeated_target_counts_once_and_an_unknown_one_is_a_miss(retriever, queries):
    target = queries["targets"][0][0]
    history = queries["history"][0].to_list()
    asked = pl.DataFrame({"user_id": ["a", "b", "c"], "history": [history] * 3,
                          "targets": [[target], [target, target], [target, "never"]]})  # fmt: skip
    values = per_query(rank_queries(retriever, asked, None))[MODEL]
    assert values[0] == values[1]
    best = 1 + 1 / np.log2(3)
    assert values[2] == pytest.approx(values[0] / best)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda queries: queries.clear(), "there is no query to evaluate"),
        (lambda queries: queries.with_columns(history=pl.lit([3])), "item ids are Int64; the model was trained on"),
    ],
)
def test_bad_queries_are_refused(retriever, queries, change, message):
    with pytest.raises(ValueError, match=message):
        rank_queries(retriever, change(queries), None)


def test_a_query_without_targets_is_refused(retriever, queries):
    asked = queries.head(2).with_columns(targets=pl.Series([["i00001"], []], dtype=pl.List(pl.String)))
    with pytest.raises(ValueError, match="1 of 2 queries have no target; leave them out"):
        per_query(rank_queries(retriever, asked, None))


def test_user_vectors_are_a_sample_with_their_first_target(retriever, evaluated):
    vectors, first = evaluate.user_vectors(retriever, evaluated, 50)
    assert vectors.shape == (50, 32)
    everyone = retriever.encode(evaluated.history, retriever.user_rows(evaluated.user_ids))
    firsts = Jagged(evaluated.targets.values, evaluated.targets.offsets)
    for vector, target in zip(vectors, first, strict=True):
        (rows,) = np.nonzero(np.isclose(everyone, vector, atol=1e-5).all(axis=1))
        assert target in {firsts[row][0] for row in rows}


def test_parts_of_items_are_scored_one_at_a_time_and_the_model_stays_whole(small_run, retriever):
    model, training = model_of(retriever).model, TrainingDescription.read(small_run.run)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    queries = validation_set(small_run.dataset, seed=0)
    num_items, loader = small_run.dataset.encoder.num_items, make_loader(training)
    parts = evaluate.item_parts(model, loader, queries, num_items)

    def score_without(*names):
        changed = copy.deepcopy(model)
        for name, weight in changed.state_dict().items():
            if name.startswith(names):
                weight.copy_(weight[:1].expand_as(weight) if "ids" in names[0] else torch.zeros_like(weight))
        return validation.score(changed, queries, loader, num_items, torch.device("cpu"))

    assert parts.both == score_without("none of them")
    assert parts.ids == score_without("item_tower.metadata")
    assert parts.metadata == score_without("item_tower.ids")
    assert parts.ids != parts.both != parts.metadata
    after = model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], weight) for name, weight in before.items())
