import pytest

from recsys.retriever import Retriever
from training import choose_baseline
from training.choose_baseline import best_baseline
from training.evaluation.evaluate import per_query, rank_queries


@pytest.mark.parametrize("most", [10_000, 40])
def test_the_baseline_is_chosen_on_validation_queries(small_run, monkeypatch, most):
    monkeypatch.setattr(choose_baseline, "MAX_QUERIES", most)
    queries = small_run.dataset.queries("validation")
    asked = queries if queries.height <= most else queries.sample(most, seed=choose_baseline.SEED)
    scores = per_query(rank_queries(Retriever.load(small_run.run / "bundle"), asked, small_run.dataset))
    best = best_baseline(small_run.run)
    assert scores[best].mean() == max(scores[name].mean() for name in ("popularity", "item_knn", "ease"))


def test_of_equal_baselines_the_simplest_is_taken(small_run, monkeypatch):
    def equal(evaluated):
        return per_query(evaluated).with_columns(popularity=0.1, item_knn=0.1, ease=0.1)

    monkeypatch.setattr(choose_baseline, "per_query", equal)
    assert best_baseline(small_run.run) == "popularity"
