"""Queries answered on a cluster: the figures of a local evaluation."""

import pytest

from recsys.errors import InputError
from recsys.retriever import RetrieverSource
from training.evaluation import evaluate
from training.evaluation.on_ray import rank_on_ray


def test_the_figures_are_those_of_a_local_evaluation(small_run, ray_address, monkeypatch):
    monkeypatch.setattr(evaluate, "QUERIES_AT_ONCE", 100)
    source = RetrieverSource(str(small_run.run / "bundle")).fixed()
    retriever, queries = source.load(), small_run.dataset.queries("test")
    local, on_cluster = (
        evaluate.summarise(evaluate.rank_queries(retriever, queries, None, rank=rank), retriever, None)
        for rank in (evaluate.rank_blocks, rank_on_ray(source, None))
    )
    assert on_cluster == local
    elsewhere = RetrieverSource("/nowhere/bundle")
    with pytest.raises(InputError, match="/nowhere/bundle") as raised:
        evaluate.rank_queries(retriever, queries, None, rank=rank_on_ray(elsewhere, None))
    assert raised.value.__cause__ is None
