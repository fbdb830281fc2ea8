"""Both models are asked the same queries, and take turns when they are timed."""

import numpy as np
import polars as pl
import pytest

from recsys.config import GateConfig
from training.evaluation.evaluate import rank_queries
from training.promotion import evidence as evidence_module
from training.promotion.evidence import gather, measure_latency
from training.promotion.fair_queries import FairQueries, Records


@pytest.fixture(scope="module")
def queries(small_run):
    return small_run.dataset.queries("test").head(40)


def records_of(queries):
    trained = pl.DataFrame({"user_id": queries["user_id"].head(30)})
    return Records(None, None, None, queries, None, trained)


def test_evidence_about_two_models(retriever, queries):
    records = records_of(queries)
    fair = FairQueries(records, queries, queries.select("user_id"), own_test=queries.head(7))
    evidence = gather([retriever, retriever], records, fair, GateConfig())
    assert len(evidence.challenger.ndcg) == 40
    np.testing.assert_array_equal(evidence.challenger.ndcg, evidence.champion.ndcg)
    slices = {scores.name: scores for scores in evidence.slices()}
    assert len(slices["new users"].challenger) == 10
    own_test = slices["the champion's own test"]
    np.testing.assert_array_equal(own_test.challenger, evidence.challenger.ndcg[:7])
    np.testing.assert_array_equal(own_test.champion, evidence.champion.ndcg[:7])


def test_the_first_version_has_no_slices_to_hold(retriever, queries):
    records = records_of(queries)
    fair = FairQueries(records, queries, queries.select("user_id"), own_test=queries.clear())
    evidence = gather([retriever], records, fair, GateConfig())
    assert evidence.champion is None
    assert [*evidence.slices()] == []


def test_timed_retrievers_take_turns_on_the_same_histories(retriever, queries):
    asked = []

    class Recorded:
        def __init__(self, name):
            self.name, self.bundle = name, retriever.bundle

        def recommend(self, histories, k):
            asked.append((self.name, tuple(histories[0]), k))

    evaluated = rank_queries(retriever, queries, None)
    taken = measure_latency([Recorded("a"), Recorded("b")], evaluated)
    assert [(len(times.cpu), len(times.wall)) for times in taken] == [(20, 20)] * 2  # of 40, the first 20 warm up
    assert [name for name, _, _ in asked] == ["a", "b"] * 40
    assert [row[1:] for row in asked[::2]] == [row[1:] for row in asked[1::2]]
    assert len({history for _, history, _ in asked}) == 40
    assert {k for _, _, k in asked} == {evidence_module.LATENCY_K}
