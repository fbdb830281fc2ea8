"""The table of baselines: whatever stands in it is ranked, named and compared."""

import numpy as np
import pytest

from recsys.data.jagged import Jagged
from recsys.retriever import Retriever
from training.evaluation import baselines, evaluate, methods
from training.evaluation.methods import BASELINES, Baseline, RankingTask, label

TRAINING = Jagged.from_rows([[1, 2, 3], [2, 3, 4], [3, 4], [0, 4]])
ASKED = Jagged.from_rows([[1, 2], [4, 3, 2]])


def task(*, ordered=True, num_items=4):
    return RankingTask(TRAINING, num_items, ordered, ASKED, k=3)


def test_labels_are_what_people_read():
    assert [label(baseline.name) for baseline in BASELINES] == ["popularity", "item-kNN", "EASE"]
    assert label("model") == "model"


def test_popularity_counts_known_items_only():
    np.testing.assert_array_equal(methods.popularity(task()), [[3, 4, 0], [1, 0, 0]])


@pytest.mark.parametrize("ordered", [True, False])
def test_recent_items_weigh_more_where_there_is_an_order(ordered):
    half_life, ease_half_life = (methods.HALF_LIFE, methods.EASE_HALF_LIFE) if ordered else (None, None)
    np.testing.assert_array_equal(
        methods.item_knn(task(ordered=ordered)), baselines.item_knn(TRAINING, 4, ASKED, 3, half_life=half_life)
    )
    np.testing.assert_array_equal(
        methods.ease(task(ordered=ordered)), baselines.ease(TRAINING, 4, ASKED, 3, half_life=ease_half_life)
    )


def test_what_the_gate_requires_applies_to_every_catalogue():
    huge = task(num_items=10**9)
    assert [baseline.name for baseline in BASELINES if not baseline.applies(huge)] == ["ease"]
    assert [baseline.name for baseline in BASELINES if baseline.required] == ["popularity", "item_knn"]


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
