"""Ranking metrics: pure functions of arrays, one value per user, and bootstrap intervals over users.

Catalogue positions count from 1. In a ranking, 0 is padding and no recommendation. Among targets, 0 is an item that was
never in the catalogue: it cannot be hit, but it counts as a target. Every query needs a target, since there is no right
answer without one. Averaging over queries is left to the caller.

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

CELLS = 2**24  # in the largest temporary array
CACHED = 2**17  # cells in a temporary array that is read repeatedly


@dataclass(frozen=True)
class Interval:
    """A mean over users with its confidence interval."""

    mean: float
    low: float
    high: float


def hits(ranked_BK: Int32, targets: Jagged) -> Bool:
    """Mark the ranks at which a query's target is recommended.

    Args:
        ranked_BK: Catalogue positions, best first, padded with 0, no item twice in a row.
        targets: Jagged [B] of catalogue positions. A target of 0 is never hit; a repeated target is hit once.

    Returns:
        [B, K] bool.
    """
    hit_BK = np.zeros(ranked_BK.shape, bool)
    query_T, target_T = targets.row_of_value[targets.values != 0], targets.values[targets.values != 0]
    width = max(1, ranked_BK.shape[1])
    step = max(1, CACHED // width)
    for start in range(0, len(target_T), step):
        query = query_T[start : start + step]
        row, rank = np.divmod(np.flatnonzero(ranked_BK[query] == target_T[start : start + step, None]), width)
        hit_BK[query[row], rank] = True
    return hit_BK


def count_targets(targets: Jagged) -> Int64:
    """[B] int64: how many different targets each query has. Unknown targets (0) all count as different.

    Raises:
        InputError: A query has no target.
    """
    known = targets.keep(targets.values != 0)
    stride = int(known.values.max(initial=0)) + 1
    pairs = pl.Series(known.row_of_value * stride + known.values).sort().to_numpy()
    repeated = pairs[1:][pairs[1:] == pairs[:-1]] // stride
    num_targets_B = targets.lengths - np.bincount(repeated, minlength=len(targets))
    _require_targets(num_targets_B)
    return num_targets_B


def recall(hits_BK: Bool, num_targets_B: Int64, k: int) -> Float64:
    """[B] float64: hits among the first ``k``, divided by the number of targets.

    With more than ``k`` targets the best possible value is k / num_targets, below 1. With one target, recall is the hit
    rate.

    Raises:
        InputError: A query has no target, or ``k`` is greater than the number of ranks.
    """
    _require_targets(num_targets_B)
    return np.asarray(_first(hits_BK, k).sum(axis=1) / num_targets_B)


def ndcg(hits_BK: Bool, num_targets_B: Int64, k: int) -> Float64:
    """[B] float64: the sum of 1/log2(rank + 1) over the hits in the first ``k`` ranks, divided by its best value.

    Binary relevance, ranks from 1 (Järvelin & Kekäläinen 2002). The best ranking has hits at ranks 1 to
    min(k, num_targets), so 1 can always be reached. Without a hit it is 0.

    Raises:
        InputError: As ``recall`` does.
    """
    _require_targets(num_targets_B)
    discount_K = 1.0 / np.log2(np.arange(2, k + 2))
    ideal_K = np.cumsum(discount_K)
    query, rank = np.divmod(np.flatnonzero(_first(hits_BK, k)), k)  # hits are few
    gain_B = np.bincount(query, weights=discount_K[rank], minlength=len(hits_BK))
    return np.asarray(gain_B / ideal_K[np.minimum(k, num_targets_B) - 1])


def mrr(hits_BK: Bool, k: int) -> Float64:
    """[B] float64: 1 / rank of the first hit (Voorhees 1999); 0 without a hit in the first ``k`` ranks."""
    first_BK = _first(hits_BK, k)
    return np.asarray(first_BK.any(axis=1) / (first_BK.argmax(axis=1) + 1.0))


def hit_rate(hits_BK: Bool, k: int) -> Float64:
    """[B] float64: 1 with a hit in the first ``k`` ranks, else 0."""
    return np.asarray(_first(hits_BK, k).any(axis=1), np.float64)


def coverage(ranked_BK: Int32, num_items: int, k: int) -> float:
    """The share of the catalogue that is in somebody's first ``k`` ranks (Herlocker et al. 2004).

    num_items: the size of the catalogue, cold items included. Without queries, or with padding only, coverage is 0.
    """
    return float(np.count_nonzero(_exposure(ranked_BK, num_items, k)) / num_items)


def exposure_gini(ranked_BK: Int32, num_items: int, k: int) -> float:
    """The Gini index of how often each item is in somebody's first ``k`` ranks.

    G = sum_i (2i - n - 1) x_i / (n sum_i x_i), with the counts x in ascending order. It is 0 if all items are shown
    equally often, or none at all, and 1 - 1/num_items if only one is shown.
    """
    shown = np.sort(_exposure(ranked_BK, num_items, k))
    weight = 2.0 * np.arange(1, num_items + 1) - num_items - 1
    return float(weight @ shown / (num_items * max(1, int(shown.sum()))))


def novelty(ranked_BK: Int32, item_counts_N: Int64, k: int) -> Float64:
    """[B] float64, in bits: the mean self-information -log2(p) of the first ``k`` items (Zhou et al. 2010).

    p = (count + 1) / (total + num_items) is an item's share of the events. Adding one keeps the surprise of a cold item
    finite. Padding is left out of the mean; the novelty of an empty ranking is 0.

    item_counts_N: training events by catalogue position; the entry at 0 is ignored.
    """
    counts = item_counts_N[1:]
    bits_N = np.zeros(len(item_counts_N))
    bits_N[1:] = np.log2(counts.sum() + len(counts)) - np.log2(counts + 1)
    ranked = _first(ranked_BK, k)
    return np.asarray(bits_N[ranked].sum(axis=1) / np.maximum(1, (ranked != 0).sum(axis=1)))


def bootstrap_mean(values_B: Float64, *, seed: int, num_samples: int = 1000, level: float = 0.95) -> Interval:
    """The mean and its percentile bootstrap interval, users drawn with replacement (Efron & Tibshirani 1993, ch. 13).

    The same seed gives the same interval. One user, or equal values, give an interval of zero width.

    Raises:
        InputError: There is no value, or one that is not finite.
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

    Raises:
        InputError: The two differ in length, so they cannot be of the same users.
    """
    if len(a_B) != len(b_B):
        raise InputError(f"expected values of the same users, found {len(a_B)} and {len(b_B)}: score the same queries")
    return bootstrap_mean(a_B - b_B, seed=seed, num_samples=num_samples, level=level)


def _first(values_BK: npt.NDArray[Scalar], k: int) -> npt.NDArray[Scalar]:
    if not 1 <= k <= values_BK.shape[1]:
        raise InputError(f"k = {k}, but the rankings have {values_BK.shape[1]} ranks: rank at least k items")
    return values_BK[:, :k]


def _require_targets(num_targets_B: Int64) -> None:
    if (num_targets_B < 1).any():
        empty = int((num_targets_B < 1).sum())
        raise InputError(f"{empty} of {len(num_targets_B)} queries have no target; leave them out")


def _exposure(ranked_BK: Int32, num_items: int, k: int) -> Int64:
    return np.bincount(_first(ranked_BK, k).ravel(), minlength=num_items + 1)[1:]
