"""What the gate's checks look at: both models' answers to the same queries, and how long one answer takes.

Shapes: Q queries; one NDCG@10 per query.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from recsys.config import GateConfig
from recsys.metrics import Float64
from recsys.progress import stage, track
from recsys.retriever import Retriever

from ..evaluation import MODEL, SEED, EvaluationSet, per_query, rank_queries, slices_of
from .fair_queries import FairQueries, Records

LATENCY_K = 100  # recommendations per request when the latency is measured
LATENCY_QUERIES, WARM_UP = 200, 20


@dataclass(frozen=True)
class RequestTimes:
    """Seconds of single requests: cpu is what all threads of this process worked, wall is what the clock says."""

    cpu: Float64
    wall: Float64


@dataclass(frozen=True)
class Answers:
    """One model's answers. ndcg: [Q] NDCG@10 of every query. times: what single requests took."""

    retriever: Retriever
    evaluated: EvaluationSet
    ndcg: Float64
    times: RequestTimes

    @property
    def num_items(self) -> int:
        """The size of the model's catalogue."""
        return self.retriever.bundle.encoder.num_items


@dataclass(frozen=True)
class SliceScores:
    """NDCG@10 of both models on the queries of one slice."""

    name: str
    challenger: Float64
    champion: Float64


@dataclass(frozen=True)
class Evidence:
    """All that the checks may use.

    champion: None for the first version of a model. baselines: user_id and NDCG@10 of every baseline, on the same
    queries. own_test: both models on the champion's own test queries, if those are others. trained_users: the ids of
    the users that the challenger was trained on. stale_days: the age of a champion that is stale, else None; see
    ``freshness.stale_days``.
    """

    challenger: Answers
    champion: Answers | None
    baselines: pl.DataFrame
    own_test: SliceScores | None
    trained_users: pl.Series
    settings: GateConfig
    stale_days: float | None = None

    def slices(self) -> Iterator[SliceScores]:
        """Both models' scores on every slice and on the champion's own test; none without a champion."""
        if self.champion is None:
            return
        challenger, champion = self.challenger.evaluated, self.champion.evaluated
        for part in slices_of(challenger, self.challenger.retriever.bundle, self.trained_users):
            yield SliceScores(part.name, part.values(challenger, MODEL), part.values(champion, MODEL))
        if self.own_test is not None:
            yield self.own_test


def gather(
    retrievers: Sequence[Retriever],
    records: Records,
    fair: FairQueries,
    settings: GateConfig,
    stale_days: float | None = None,
) -> Evidence:
    """Ask both models all queries, and time some.

    Args:
        retrievers: the challenger's and, if there is a champion, the champion's.
        records: the challenger's.
        fair: the queries to ask.
        settings: the limits of the checks.
        stale_days: see ``Evidence``.
    """
    with stage("answer the queries"):
        evaluated = [rank_queries(retriever, fair.queries, None) for retriever in retrievers]
        own_test = None
        if fair.own_test.height:
            scores = [_ndcg(rank_queries(retriever, fair.own_test, None)) for retriever in retrievers]
            own_test = SliceScores("the champion's own test", *scores)
    with stage("measure the latency"):
        times = measure_latency(retrievers, evaluated[0])
    answers = [
        Answers(retriever, ranked, _ndcg(ranked), taken)
        for retriever, ranked, taken in zip(retrievers, evaluated, times, strict=True)
    ]
    champion = answers[1] if len(answers) > 1 else None
    return Evidence(answers[0], champion, fair.per_query, own_test, records.trained_users(), settings, stale_days)


def measure_latency(retrievers: Sequence[Retriever], evaluated: EvaluationSet) -> list[RequestTimes]:
    """Time single requests of each retriever, without the first WARM_UP where there are more.

    The retrievers take turns on the same histories in this process, so that other load slows them alike.
    """
    encoder = retrievers[0].bundle.encoder
    rows = np.random.default_rng(SEED).permutation(len(evaluated.history))[: WARM_UP + LATENCY_QUERIES]
    seconds: list[list[tuple[float, float]]] = [[] for _ in retrievers]
    for row in track(rows.tolist(), "requests timed"):
        history = encoder.ids(evaluated.history[row])
        for retriever, times in zip(retrievers, seconds, strict=True):
            cpu, wall = time.process_time(), time.perf_counter()
            retriever.recommend([history], k=LATENCY_K)
            times.append((time.process_time() - cpu, time.perf_counter() - wall))
    return [RequestTimes(*np.array(times[WARM_UP:] or times).T) for times in seconds]


def _ndcg(evaluated: EvaluationSet) -> Float64:
    return per_query(evaluated).get_column(MODEL).to_numpy()
