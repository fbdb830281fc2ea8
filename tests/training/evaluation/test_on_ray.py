"""Figures of what a cluster's workers do, here in this process; tests/recsys/actions/test_engine.py asks a cluster."""

from contextlib import contextmanager, nullcontext

import pytest

from recsys.errors import InputError
from recsys.retriever import RetrieverSource
from training.evaluation import evaluate, on_ray


def test_the_figures_are_those_of_a_local_evaluation(small_run, monkeypatch):
    @contextmanager
    def task_map(folder):
        yield map

    monkeypatch.setattr(on_ray, "connected", nullcontext)
    monkeypatch.setattr(on_ray, "task_map", task_map)
    monkeypatch.setattr(evaluate, "QUERIES_AT_ONCE", 100)
    source = RetrieverSource(str(small_run.run / "bundle")).fixed()
    retriever, queries = source.load(), small_run.dataset.queries("test")
    local, on_cluster = (
        evaluate.summarise(evaluate.rank_queries(retriever, queries, None, rank=rank), retriever, None)
        for rank in (evaluate.rank_blocks, on_ray.rank_on_ray(source, None))
    )
    assert on_cluster == local
    elsewhere = RetrieverSource("/nowhere/bundle")
    with pytest.raises(InputError, match="/nowhere/bundle"):
        evaluate.rank_queries(retriever, queries, None, rank=on_ray.rank_on_ray(elsewhere, None))
