"""The checks of the gate: each compares what a version showed with a limit.

To add one, write a function from ``Evidence`` to checks and give it a line in CHECKS; a limit that users may
set is a field of ``GateConfig`` (recsys/config/gate_keys.py).

Shapes: Q queries; one NDCG@10 per query.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from recsys import metrics
from recsys.bundle import Bundle
from recsys.config import GateConfig
from recsys.errors import InputError
from recsys.metrics import Float64
from recsys.search import ItemIndex, recall_at

from ..evaluation import BASELINES, HEADLINE, MODEL, SEED
from .decision import Check
from .evidence import Answers, Evidence, SliceScores

RECALL_K = 100
RECALL_QUERIES = 1_000
FAMILY_LEVEL = 0.95  # confidence in all slices together
LATENCY_RISE = 1.2  # of the champion's time, where that is above the limit: two equal models differ by less
METRIC = HEADLINE.upper()


def beats_baselines(evidence: Evidence) -> Iterator[Check]:
    """The challenger is ahead of every baseline of ``gate.must_beat``."""
    for baseline in BASELINES:
        if baseline.name in evidence.settings.must_beat:
            if baseline.name not in evidence.baselines.columns:
                if baseline.conditional:
                    continue
                raise InputError(
                    f"gate.must_beat names {baseline.name}, which was not measured for this version (it does not apply "
                    "to its data, or an older release published it); take it out: --set gate.must_beat=[]"
                )
            scores_Q = evidence.baselines.get_column(baseline.name).to_numpy().astype(np.float64)
            if baseline.conditional:  # it has a share in what serves, and may be all of it
                yield not_behind(f"not behind {baseline.label}", evidence.challenger.ndcg, scores_Q, key="must_beat")
            else:
                yield ahead(f"beats {baseline.label}", evidence.challenger.ndcg, scores_Q, key="must_beat")


def beats_champion(evidence: Evidence) -> Iterator[Check]:
    """The challenger is ahead of the champion by the required gain, or as good as a stale one, within a margin."""
    if evidence.champion is None:
        return
    name, key, gain = "ahead of the champion", "required_gain", evidence.settings.required_gain
    if evidence.stale_days is not None and -evidence.settings.stale_margin < gain:
        name, key, gain = (
            f"as good as a champion of {evidence.stale_days:.0f} days",
            "stale_margin",
            -evidence.settings.stale_margin,
        )
    yield ahead(name, evidence.challenger.ndcg, evidence.champion.ndcg, gain=gain, key=key)


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
    yield at_least("coverage@10", coverage, least, form=".4f", key="coverage_share")
    yield at_most("popularity bias (Gini@10)", gini, most, form=".4f", key="gini_rise")


def index_recall(evidence: Evidence) -> Iterator[Check]:
    """The challenger's own index finds what exact search finds: recall@100 on the queries' user vectors."""
    retriever, evaluated = evidence.challenger.retriever, evidence.challenger.evaluated
    bundle, recall = retriever.bundle, 1.0
    if isinstance(bundle, Bundle) and not bundle.index.spec.is_exact:
        rows = np.sort(np.random.default_rng(SEED).permutation(len(evaluated.history))[:RECALL_QUERIES])
        users = retriever.encode(evaluated.history.take(rows), retriever.user_rows(evaluated.user_ids.gather(rows)))
        k = min(RECALL_K, bundle.encoder.num_items)
        approximate, _ = bundle.index.search(users, k)
        exact, _ = ItemIndex.build(bundle.item_vectors, kind="exact").search(users, k)
        recall = recall_at(approximate, exact)
    yield at_least("recall of the index", recall, evidence.settings.index_recall, form=".4f", key="index_recall")


def latency(evidence: Evidence) -> Iterator[Check]:
    """A recommendation is fast enough: the 95th percentile of the CPU time of one, in ms.

    Other programs slow the wall clock, but hardly the CPU time. So the wall clock only warns. A champion that is above
    the limit itself says that the limit does not fit the machine; then the challenger may be as slow.
    """
    budget, champion, limit = evidence.settings.latency_ms, "", evidence.settings.latency_ms
    if evidence.champion is not None:
        serving = _p95_ms(evidence.champion.times.cpu)
        champion, limit = f" (champion {serving:.1f})", budget if serving <= budget else LATENCY_RISE * serving
    name, wall = f"latency in ms of CPU, 95th percentile{champion}", _p95_ms(evidence.challenger.times.wall)
    yield at_most(name, _p95_ms(evidence.challenger.times.cpu), limit, form=".1f", key="latency_ms")
    if wall > budget:
        warning = at_most("latency in ms by the clock, 95th percentile, on this machine now", wall, budget, form=".1f")
        yield warning.model_copy(update={"refuses": False})


CHECKS: tuple[Callable[[Evidence], Iterable[Check]], ...] = (
    beats_baselines,
    beats_champion,
    holds_slices,
    recommends_broadly,
    index_recall,
    latency,
)


def ahead(name: str, ours_Q: Float64, theirs_Q: Float64, *, key: str, gain: float = 0.0) -> Check:
    """Check that the paired 95% interval of the difference is above ``gain`` times the other's mean.

    This is a one-sided test at 2.5%. The limit is estimated from the same queries as the difference, so both are
    resampled together.
    """
    limit = gain * float(theirs_Q.mean())
    excess = metrics.paired_bootstrap(ours_Q, (1 + gain) * theirs_Q, seed=SEED)
    mean, low, high = (value + limit for value in (excess.mean, excess.low, excess.high))
    return Check(
        name=name, passed=excess.low > 0, figure=mean, demand="low end above", limit=limit, low=low, high=high,
        metric=METRIC, key=f"gate.{key}",
    )  # fmt: skip


def not_behind(name: str, ours_Q: Float64, theirs_Q: Float64, *, key: str) -> Check:
    """Check that the mean difference is 0 or more."""
    interval = metrics.paired_bootstrap(ours_Q, theirs_Q, seed=SEED)
    return Check(
        name=name, passed=interval.mean >= 0, figure=interval.mean, demand="mean at least", limit=0.0,
        low=interval.low, high=interval.high, metric=METRIC, key=f"gate.{key}",
    )  # fmt: skip


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
        metric=METRIC,
        key="gate.slice_margin",
    )


def at_least(name: str, figure: float, limit: float, *, form: str, key: str = "") -> Check:
    """Check that a figure reaches the limit."""
    return _against("at least", figure >= limit, name, figure, limit, form, key)


def at_most(name: str, figure: float, limit: float, *, form: str, key: str = "") -> Check:
    """Check that a figure does not exceed the limit."""
    return _against("at most", figure <= limit, name, figure, limit, form, key)


def _against(demand: str, passed: bool, name: str, figure: float, limit: float, form: str, key: str) -> Check:
    return Check(
        name=name, passed=passed, figure=figure, demand=demand, limit=limit, form=form, key=key and f"gate.{key}"
    )


def _coverage(answers: Answers) -> float:
    return metrics.coverage(answers.evaluated.ranked[MODEL], answers.num_items, 10)


def _gini(answers: Answers) -> float:
    return metrics.exposure_gini(answers.evaluated.ranked[MODEL], answers.num_items, 10)


def _p95_ms(seconds: Float64) -> float:
    return 1000 * float(np.quantile(seconds, 0.95))
