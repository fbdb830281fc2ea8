"""The gate's demands. Each gives a Check: what was found, what was asked for, and whether that is enough.

Shapes: Q queries; one NDCG@10 per query.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recsys import metrics
from recsys.config import GateConfig
from recsys.metrics import Float64
from recsys.retriever import Retriever
from recsys.search import ItemIndex, recall_at

from ..evaluation import MODEL, SEED, EvaluationSet
from .decision import Check

RECALL_K = 100
LATENCY_QUERIES, WARM_UP = 200, 20
FAMILY_LEVEL = 0.95  # of all slices together


@dataclass(frozen=True)
class SliceScores:
    """NDCG@10 of both models on the queries of one slice."""

    name: str
    challenger: Float64
    champion: Float64


def at_least(name: str, figure: float, limit: float, *, form: str) -> Check:
    """Pass a figure that reaches the limit."""
    return Check(name=name, passed=figure >= limit, figure=figure, demand="at least", limit=limit, form=form)


def at_most(name: str, figure: float, limit: float, *, form: str) -> Check:
    """Pass a figure that does not exceed the limit."""
    return Check(name=name, passed=figure <= limit, figure=figure, demand="at most", limit=limit, form=form)


def ahead(name: str, ours_Q: Float64, theirs_Q: Float64, *, gain: float = 0.0) -> Check:
    """The paired 95% interval of the difference is above ``gain`` times the other's mean: a one-sided test at 2.5%.

    That limit is no more certain than the difference: both are resampled together.
    """
    limit = gain * float(theirs_Q.mean())
    beyond = metrics.paired_bootstrap(ours_Q, (1 + gain) * theirs_Q, seed=SEED)
    mean, low, high = (value + limit for value in (beyond.mean, beyond.low, beyond.high))
    return Check(name=name, passed=beyond.low > 0, figure=mean, demand="low end above", limit=limit, low=low, high=high)


def floors(slices: Sequence[SliceScores], settings: GateConfig) -> list[Check]:
    """No slice falls by more than ``slice_margin`` of the champion's score, unless that may be chance.

    A slice is refused where the mean is below the floor and the interval below zero. The intervals hold together: each
    is of level 1 - 5% / number of slices (Bonferroni), so that equal models fail one of them at about 2.5%, however
    many there are (3% to 5% in docs/promotion.md: a percentile interval of few queries is too narrow). Slices can only
    refuse: they never add to the rate of false promotions.
    """
    judged = [each for each in slices if len(each.challenger) >= settings.min_slice_queries]
    level = 1 - (1 - FAMILY_LEVEL) / max(1, len(judged))
    return [_floor(each, level, settings.slice_margin) for each in judged]


def _floor(scores: SliceScores, level: float, margin: float) -> Check:
    interval = metrics.paired_bootstrap(scores.challenger, scores.champion, seed=SEED, level=level, num_samples=4000)
    limit = -margin * float(scores.champion.mean())
    passed = interval.mean >= limit or interval.high >= 0
    return Check(
        name=f"{scores.name}, {len(scores.challenger):,} queries", passed=passed, figure=interval.mean,
        demand="mean at least", limit=limit, low=interval.low, high=interval.high,
    )  # fmt: skip


def index_recall(retriever: Retriever, evaluated: EvaluationSet, settings: GateConfig, *, sample: int = 1000) -> Check:
    """Recall@100 of the challenger's own index against exact search, on the queries' user vectors."""
    rows = np.sort(np.random.default_rng(SEED).permutation(len(evaluated.history))[:sample])
    users = retriever.encode(evaluated.history.take(rows), retriever.user_rows(evaluated.user_ids.gather(rows)))
    bundle, recall = retriever.bundle, 1.0
    if bundle.index.spec.kind != "exact":
        k = min(RECALL_K, bundle.encoder.num_items)
        approximate, _ = bundle.index.search(users, k)
        exact, _ = ItemIndex.build(bundle.item_vectors, kind="exact").search(users, k)
        recall = recall_at(approximate, exact)
    return at_least("recall of the index", recall, settings.index_recall, form=".4f")


def latency(retrievers: Sequence[Retriever], evaluated: EvaluationSet, settings: GateConfig) -> Check:
    """The 95th percentile of one recommendation, in ms; challenger and champion take turns in this process."""
    ids = [retriever.bundle.encoder.ids for retriever in retrievers]
    rows = np.random.default_rng(SEED).permutation(len(evaluated.history))[: WARM_UP + LATENCY_QUERIES]
    seconds: list[list[float]] = [[] for _ in retrievers]
    for row in rows.tolist():
        history = ids[0](evaluated.history[row])
        for place, retriever in enumerate(retrievers):
            started = time.perf_counter()
            retriever.recommend([history], k=RECALL_K)
            seconds[place].append(time.perf_counter() - started)
    p95 = [1000 * float(np.quantile(each[WARM_UP:] or each, 0.95)) for each in seconds]
    beside = f" (champion {p95[1]:.1f})" if len(p95) > 1 else ""
    limit = settings.latency_ms
    return at_most(f"latency in ms, 95th percentile{beside}", p95[0], limit, form=".1f")


def spread(evaluated: Sequence[EvaluationSet], num_items: Sequence[int], settings: GateConfig) -> list[Check]:
    """The challenger recommends no less broadly than the champion: coverage@10, and the Gini index of exposure@10."""
    ranked = [each.ranked[MODEL] for each in evaluated]
    coverage = [metrics.coverage(each, size, 10) for each, size in zip(ranked, num_items, strict=True)]
    gini = [metrics.exposure_gini(each, size, 10) for each, size in zip(ranked, num_items, strict=True)]
    least, most = settings.coverage_share * coverage[1], gini[1] + settings.gini_rise
    return [
        at_least("coverage@10", coverage[0], least, form=".4f"),
        at_most("popularity bias (Gini@10)", gini[0], most, form=".4f"),
    ]
