"""The checks of the gate: each compares what a version showed with a limit.

To add one, write a function from ``Evidence`` to checks and give it a line in CHECKS; a limit that users may
set is a field of ``GateConfig`` (recsys/config/gate_keys.py).

Shapes: Q queries; one NDCG@10 per query.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from recsys import metrics
from recsys.config import GateConfig
from recsys.metrics import Float64
from recsys.search import ItemIndex, recall_at

from ..evaluation import BASELINES, MODEL, SEED
from .decision import Check
from .evidence import Answers, Evidence, SliceScores

RECALL_K = 100
RECALL_QUERIES = 1_000
FAMILY_LEVEL = 0.95  # confidence in all slices together


def beats_baselines(evidence: Evidence) -> Iterator[Check]:
    """The challenger is ahead of every baseline that the gate requires it to beat."""
    for baseline in BASELINES:
        if baseline.required:
            scores_Q = evidence.baselines.get_column(baseline.name).to_numpy().astype(np.float64)
            yield ahead(f"beats {baseline.name}", evidence.challenger.ndcg, scores_Q)


def beats_champion(evidence: Evidence) -> Iterator[Check]:
    """The challenger is ahead of the champion, by the required gain."""
    if evidence.champion is not None:
        yield ahead(
            "ahead of the champion",
            evidence.challenger.ndcg,
            evidence.champion.ndcg,
            gain=evidence.settings.required_gain,
        )


def holds_slices(evidence: Evidence) -> Iterable[Check]:
    """No slice falls far below the champion."""
    return floors([*evidence.slices()], evidence.settings)


def recommends_broadly(evidence: Evidence) -> Iterator[Check]:
    """The challenger recommends no less broadly than the champion: coverage@10, and the Gini index of exposure@10."""
    if evidence.champion is None:
        return
    coverage, gini = _coverage(evidence.challenger), _gini(evidence.challenger)
    least = evidence.settings.coverage_share * _coverage(evidence.champion)
    most = _gini(evidence.champion) + evidence.settings.gini_rise
    yield at_least("coverage@10", coverage, least, form=".4f")
    yield at_most("popularity bias (Gini@10)", gini, most, form=".4f")


def index_recall(evidence: Evidence) -> Iterator[Check]:
    """The challenger's own index finds what exact search finds: recall@100 on the queries' user vectors."""
    retriever, evaluated = evidence.challenger.retriever, evidence.challenger.evaluated
    bundle, recall = retriever.bundle, 1.0
    if bundle.index.spec.kind != "exact":
        rows = np.sort(np.random.default_rng(SEED).permutation(len(evaluated.history))[:RECALL_QUERIES])
        users = retriever.encode(evaluated.history.take(rows), retriever.user_rows(evaluated.user_ids.gather(rows)))
        k = min(RECALL_K, bundle.encoder.num_items)
        approximate, _ = bundle.index.search(users, k)
        exact, _ = ItemIndex.build(bundle.item_vectors, kind="exact").search(users, k)
        recall = recall_at(approximate, exact)
    yield at_least("recall of the index", recall, evidence.settings.index_recall, form=".4f")


def latency(evidence: Evidence) -> Iterator[Check]:
    """A recommendation is fast enough: the 95th percentile of the time of one, in ms."""
    champion = "" if evidence.champion is None else f" (champion {_p95_ms(evidence.champion):.1f})"
    name = f"latency in ms, 95th percentile{champion}"
    yield at_most(name, _p95_ms(evidence.challenger), evidence.settings.latency_ms, form=".1f")


CHECKS: tuple[Callable[[Evidence], Iterable[Check]], ...] = (
    beats_baselines,
    beats_champion,
    holds_slices,
    recommends_broadly,
    index_recall,
    latency,
)


def ahead(name: str, ours_Q: Float64, theirs_Q: Float64, *, gain: float = 0.0) -> Check:
    """Check that the paired 95% interval of the difference is above ``gain`` times the other's mean.

    This is a one-sided test at 2.5%. The limit is estimated from the same queries as the difference, so both are
    resampled together.
    """
    limit = gain * float(theirs_Q.mean())
    excess = metrics.paired_bootstrap(ours_Q, (1 + gain) * theirs_Q, seed=SEED)
    mean, low, high = (value + limit for value in (excess.mean, excess.low, excess.high))
    return Check(name=name, passed=excess.low > 0, figure=mean, demand="low end above", limit=limit, low=low, high=high)


def floors(slices: Sequence[SliceScores], settings: GateConfig) -> list[Check]:
    """Check that no slice falls by more than ``slice_margin`` of the champion's score, if statistically significant.

    A slice fails if the mean is below the floor and the interval below zero. The level of each interval is 1 - 5% /
    number of slices (Bonferroni), so that equal models fail any slice in about 2.5% of cases, however many slices there
    are (3% to 5% in docs/promotion.md: a percentile interval of few queries is too narrow). Slices can only refuse:
    they never add to the rate of false promotions.
    """
    judged = [part for part in slices if len(part.challenger) >= settings.min_slice_queries]
    level = 1 - (1 - FAMILY_LEVEL) / max(1, len(judged))
    return [_floor(part, level, settings.slice_margin) for part in judged]


def _floor(scores: SliceScores, level: float, margin: float) -> Check:
    interval = metrics.paired_bootstrap(scores.challenger, scores.champion, seed=SEED, level=level, num_samples=4000)
    limit = -margin * float(scores.champion.mean())
    return Check(
        name=f"{scores.name}, {len(scores.challenger):,} queries",
        passed=interval.mean >= limit or interval.high >= 0,
        figure=interval.mean,
        demand="mean at least",
        limit=limit,
        low=interval.low,
        high=interval.high,
    )


def at_least(name: str, figure: float, limit: float, *, form: str) -> Check:
    """Check that a figure reaches the limit."""
    return Check(name=name, passed=figure >= limit, figure=figure, demand="at least", limit=limit, form=form)


def at_most(name: str, figure: float, limit: float, *, form: str) -> Check:
    """Check that a figure does not exceed the limit."""
    return Check(name=name, passed=figure <= limit, figure=figure, demand="at most", limit=limit, form=form)


def _coverage(answers: Answers) -> float:
    return metrics.coverage(answers.evaluated.ranked[MODEL], answers.num_items, 10)


def _gini(answers: Answers) -> float:
    return metrics.exposure_gini(answers.evaluated.ranked[MODEL], answers.num_items, 10)


def _p95_ms(answers: Answers) -> float:
    return 1000 * float(np.quantile(answers.seconds, 0.95))
