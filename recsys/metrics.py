"""Ranking metrics: pure functions of arrays, one value per user, and bootstrap intervals over users.

Positions count from 1. In a ranking 0 is padding: its slots are no recommendations. Among targets 0 is an item that was
never in the catalogue: it cannot be hit, but it counts as a target. Metrics need at least one target per query, since
a query without one has no right answer; a mean over queries is the caller's.

Shapes: B queries (users), K ranks, T targets of all queries, N catalogue positions with 0 among them, S bootstrap
samples.
"""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl

from .data import Int32, Int64, Jagged
from .errors import InputError

Bool = npt.NDArray[np.bool_]
Float64 = npt.NDArray[np.float64]
Scalar = TypeVar("Scalar", bound=np.generic)

CELLS = 2**24  # of the largest temporary array
CACHED = 2**17  # of one that is gone over again and again


@dataclass(frozen=True)
class Interval:
    """A mean over users with its confidence interval."""

    mean: float
    low: float
    high: float


def hits(ranked_BK: Int32, targets: Jagged) -> Bool:
    """[B, K] bool: the item at this rank is one of the query's targets.

    ranked_BK: positions, best first, 0 as padding, no item twice. targets: Jagged [B] of positions. Padding never hits,
    nor does a target 0; a target given twice is hit once.
    """
    hit_BK = np.zeros(ranked_BK.shape, bool)
    query_T, target_T = targets.row_of_value[targets.values != 0], targets.values[targets.values != 0]
    width = max(1, ranked_BK.shape[1])
    step = max(1, CACHED // width)
    for start in range(0, len(target_T), step):
        query = query_T[start : start + step]
        place, rank = np.divmod(np.flatnonzero(ranked_BK[query] == target_T[start : start + step, None]), width)
        hit_BK[query[place], rank] = True
    return hit_BK


def count_targets(targets: Jagged) -> Int64:
    """[B] int64: how many different targets each query has; unknown ones (0) count one by one.

    Raises InputError for a query without targets.
    """
    known = targets.keep(targets.values != 0)
    stride = int(known.values.max(initial=0)) + 1
    pairs = pl.Series(known.row_of_value * stride + known.values).sort().to_numpy()
    repeated = pairs[1:][pairs[1:] == pairs[:-1]] // stride
    num_targets_B = targets.lengths - np.bincount(repeated, minlength=len(targets))
    _check(num_targets_B)
    return num_targets_B


def recall(hits_BK: Bool, num_targets_B: Int64, k: int) -> Float64:
    """[B] float64: hits among the first ``k`` / number of targets.

    With more than ``k`` targets the best possible value is k / num_targets, below 1. With one target it is the hit
    rate. Raises InputError for a query without targets, or a ``k`` beyond the ranking.
    """
    _check(num_targets_B)
    return np.asarray(_first(hits_BK, k).sum(axis=1) / num_targets_B)


def ndcg(hits_BK: Bool, num_targets_B: Int64, k: int) -> Float64:
    """[B] float64: sum of 1/log2(rank + 1) over the hits' ranks <= k, divided by its best value.

    Binary relevance, ranks from 1 (Järvelin & Kekäläinen 2002). The best ranking has hits at ranks 1 to
    min(k, num_targets), so that 1 can always be reached; no hit is 0. Raises InputError as ``recall`` does.
    """
    _check(num_targets_B)
    discount_K = 1.0 / np.log2(np.arange(2, k + 2))
    ideal_K = np.cumsum(discount_K)
    query, rank = np.divmod(np.flatnonzero(_first(hits_BK, k)), k)  # hits are few
    gain_B = np.bincount(query, weights=discount_K[rank], minlength=len(hits_BK))
    return np.asarray(gain_B / ideal_K[np.minimum(k, num_targets_B) - 1])


def mrr(hits_BK: Bool, k: int) -> Float64:
    """[B] float64: 1 / rank of the first hit (Voorhees 1999), 0 without a hit among the first ``k``."""
    first_BK = _first(hits_BK, k)
    return np.asarray(first_BK.any(axis=1) / (first_BK.argmax(axis=1) + 1.0))


def hit_rate(hits_BK: Bool, k: int) -> Float64:
    """[B] float64: 1 with a hit among the first ``k``, else 0."""
    return np.asarray(_first(hits_BK, k).any(axis=1), np.float64)


def coverage(ranked_BK: Int32, num_items: int, k: int) -> float:
    """Share of the catalogue that is among the first ``k`` of anyone (Herlocker et al. 2004).

    num_items: size of the catalogue, cold items too. Without queries, or with padding only, it is 0.
    """
    return float(np.count_nonzero(_exposure(ranked_BK, num_items, k)) / num_items)


def exposure_gini(ranked_BK: Int32, num_items: int, k: int) -> float:
    """Gini index of how often each item is among someone's first ``k``.

    G = sum_i (2i - n - 1) x_i / (n sum_i x_i), counts x rising. 0: all items are shown equally often, or none is ever
    shown; 1 - 1/num_items: only one is.
    """
    shown = np.sort(_exposure(ranked_BK, num_items, k))
    weight = 2.0 * np.arange(1, num_items + 1) - num_items - 1
    return float(weight @ shown / (num_items * max(1, int(shown.sum()))))


def novelty(ranked_BK: Int32, item_counts_N: Int64, k: int) -> Float64:
    """[B] float64, in bits: mean self-information -log2(p) of the first ``k`` items (Zhou et al. 2010).

    item_counts_N: training events of each position; what stands at 0 is ignored. p = (count + 1) / (total + num_items)
    is the item's share of the events with add-one smoothing, so that a cold item is finitely surprising. Padding is
    left out of the mean; a ranking without items tells nothing: 0.
    """
    counts = item_counts_N[1:]
    bits_N = np.zeros(len(item_counts_N))
    bits_N[1:] = np.log2(counts.sum() + len(counts)) - np.log2(counts + 1)
    ranked = _first(ranked_BK, k)
    return np.asarray(bits_N[ranked].sum(axis=1) / np.maximum(1, (ranked != 0).sum(axis=1)))


def bootstrap_mean(values_B: Float64, *, seed: int, num_samples: int = 1000, level: float = 0.95) -> Interval:
    """The mean and its percentile bootstrap interval, users drawn with replacement (Efron & Tibshirani 1993, ch. 13).

    The same seed gives the same interval. One user, or equal values, give an interval of zero width. Raises InputError
    for no values, or values that are not finite.
    """
    size = len(values_B)
    if not size or not np.isfinite(values_B).all():
        bad = int((~np.isfinite(values_B)).sum())
        raise InputError(f"expected one finite value per user, found {size} values, {bad} of them not finite")
    rng = np.random.default_rng(seed)
    mean_S = np.empty(num_samples)
    step = max(1, CELLS // 8 // size)
    for start in range(0, num_samples, step):
        drawn = rng.integers(size, size=(min(step, num_samples - start), size), dtype=np.int32)
        mean_S[start : start + step] = values_B[drawn].mean(axis=1)
    low, high = np.quantile(mean_S, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(values_B.mean()), float(low), float(high))


def paired_bootstrap(
    a_B: Float64, b_B: Float64, *, seed: int, num_samples: int = 1000, level: float = 0.95
) -> Interval:
    """``bootstrap_mean`` of a - b, user by user: positive where ``a`` is better.

    Raises InputError where the two are not of the same users.
    """
    if len(a_B) != len(b_B):
        raise InputError(f"expected values of the same users, found {len(a_B)} and {len(b_B)}: score the same queries")
    return bootstrap_mean(a_B - b_B, seed=seed, num_samples=num_samples, level=level)


def _first(values_BK: npt.NDArray[Scalar], k: int) -> npt.NDArray[Scalar]:
    if not 1 <= k <= values_BK.shape[1]:
        raise InputError(f"k = {k}, but the rankings have {values_BK.shape[1]} ranks: rank at least k items")
    return values_BK[:, :k]


def _check(num_targets_B: Int64) -> None:
    if (num_targets_B < 1).any():
        empty = int((num_targets_B < 1).sum())
        raise InputError(f"{empty} of {len(num_targets_B)} queries have no target; leave them out")


def _exposure(ranked_BK: Int32, num_items: int, k: int) -> Int64:
    return np.bincount(_first(ranked_BK, k).ravel(), minlength=num_items + 1)[1:]
