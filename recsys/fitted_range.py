"""The range of numbers that a feature was fitted on, robust against single outliers.

What is outside is clipped, then and later: one wrong price must neither squeeze all others together nor put its item
first for everybody.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

LARGEST = 1e100  # no quantity is larger, and the squares of these can still be summed
EDGE = 20  # one value in so many may be an outlier, on either side
GAP = 10.0  # an outlier is so many times as far from the median as the next value on its side
KEPT = 2.0  # where outliers are clipped: so many times as far from the median as the last value that is none


@dataclass(frozen=True)
class FittedRange:
    """The smallest and the largest number that is taken as it is."""

    low: float
    high: float

    def clip(self, numbers: Float64) -> Float64:
        """Numbers in the range; those outside become its nearer end."""
        return np.clip(numbers, self.low, self.high)

    def count_outside(self, numbers: Float64) -> int:
        """How many finite numbers are outside."""
        return int(np.count_nonzero(np.isfinite(numbers) & ((numbers < self.low) | (numbers > self.high))))


def fit_range(numbers: Float64) -> FittedRange:
    """The range of finite numbers without outliers: (0, 0) of none.

    Without outliers it is from the smallest number to the largest. A number is an outlier if it is among the outermost
    EDGE-th on its side and the step to it from the next is a gap (GAP), or if one before it is. So the tail of skewed
    data, which has many numbers between its end and its middle, is kept whole, and a number that is alone is not.
    Fewer than four numbers have no outliers.
    """
    if not len(numbers):
        return FittedRange(0.0, 0.0)
    ordered = np.sort(np.clip(numbers, -LARGEST, LARGEST))
    middle = ordered[(len(ordered) - 1) // 2]
    upwards, downwards = ordered - middle, (middle - ordered)[::-1]
    edge = len(ordered) - 1 - (max(1, len(ordered) // EDGE) if len(ordered) > 3 else 0)
    spread = max(upwards[edge], downwards[edge])
    above, below = _limit(upwards, edge, spread), _limit(downwards, edge, spread)
    low, high = ordered[0] if below is None else middle - below, ordered[-1] if above is None else middle + above
    return FittedRange(float(low), float(high))


def _limit(distances: Float64, edge: int, spread: float) -> np.float64 | None:
    """How far from the median the numbers of one side may be; None if it has no outlier.

    Args:
        distances: Ascending; those below 0 are of the other side.
        edge: The last number that cannot be an outlier.
        spread: How far from the median such numbers are, on either side.
    """
    if spread <= 0:  # nearly all numbers are the same, as in counts that are mostly 0: the others set the scale
        others = distances[distances > 0]
        if not len(others):
            return None
        spread, edge = others[(len(others) - 1) // 2], len(distances) - len(others)
    tail = distances[edge:]
    before = np.maximum(np.concatenate(([spread], tail[:-1])), spread)
    gaps = np.flatnonzero(tail > GAP * before)
    return KEPT * before[gaps[0]] if len(gaps) else None


def lengths_of(vectors: Float32) -> Float64:
    """[n] float64: the length of each row, in which even 1e30 can be squared."""
    return np.asarray(np.sqrt(np.square(vectors.astype(np.float64)).sum(axis=1)))


def longer_than(vectors: Float32, longest: float) -> npt.NDArray[np.bool_]:
    """[n] bool: which rows are longer, by more than rounding."""
    return np.asarray(lengths_of(vectors) > (1 + 1e-6) * longest)


def shortened(vectors: Float32, longest: float) -> Float32:
    """The rows with those that are longer scaled to that length; all others keep their bits."""
    longer = longer_than(vectors, longest)
    if not longer.any():
        return vectors
    result, long = vectors.copy(), vectors[longer].astype(np.float64)
    result[longer] = long * (longest / lengths_of(vectors[longer]))[:, None]
    return result
