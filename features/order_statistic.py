"""The values at some ranks of columns that together may be larger than memory."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

FEW = 1 << 20  # so many values are simply sorted
NUM_BINS = 1 << 16
WIDE = (pl.Int128, pl.UInt128, pl.Decimal)  # NumPy has no such numbers
BLOCK = 1 << 17  # values at a time, which stay in the cache
Columns = Callable[[], Iterable[pl.Series]]  # reads them one after the other, as often as it is called


@dataclass(frozen=True)
class Ends:
    """The smallest and the largest of some values, as numbers, and how many they are; no values if they are none."""

    low: int | float
    high: int | float
    count: int

    @staticmethod
    def of(columns: Iterable[pl.Series]) -> "Ends":
        """The ends of all columns together."""
        lows, highs, count = list[Any](), list[Any](), 0
        for column in columns:
            number: Any = column.to_physical()
            if number.dtype.is_numeric() and number.dtype not in WIDE and len(number):
                lows, highs, count = [*lows, number.min()], [*highs, number.max()], count + len(column)
        return Ends(min(lows, default=0), max(highs, default=0), count)

    @property
    def scale(self) -> float:
        """Bins for each unit; infinite if all values are equal, or nearly so."""
        span = float(self.high - self.low)
        return NUM_BINS / span if span else math.inf


def values_at_ranks(values: Columns, ranks: Sequence[int], ends: Ends | None = None, few: int = FEW) -> list[pl.Series]:
    """The values that would be at ``ranks``, from 0, if all columns were one and sorted; as columns of one row.

    Args:
        values: Columns of one type without nulls.
        ranks: Below the number of values.
        ends: Of the values, if they are known.
        few: How many values may be in memory, besides one column.

    The values are counted in bins of equal width, and the search goes on in the bins that hold the ranks: one pass
    counts, and one collects these bins, unless they are too large. The extremes are in bins of their own, so that every
    step leaves out some values. Text, and numbers too far apart or too close for floats, are sorted in memory.
    """
    ends = ends or Ends.of(values())
    if ends.count and ends.low == ends.high:
        return [next(column.head(1) for column in values() if len(column))] * len(ranks)
    if ends.count <= few or not 0 < ends.scale < math.inf:
        return _sorted_slices(values(), ranks)
    lengths = np.zeros(NUM_BINS + 2, np.int64)
    for column in values():
        for bins in _bins(column, ends):
            lengths += np.bincount(bins, minlength=len(lengths))
    after = np.cumsum(lengths)
    bin_of_rank = np.searchsorted(after, ranks, side="right")
    inside = np.asarray(ranks) - after[bin_of_rank] + lengths[bin_of_rank]
    wanted = np.unique(bin_of_rank)
    if lengths[wanted].sum() > few:
        return [
            values_at_ranks(partial(_in_bins, values, ends, [index]), [int(rank)], few=few)[0]
            for index, rank in zip(bin_of_rank, inside, strict=True)
        ]
    skipped = np.cumsum(lengths[wanted]) - lengths[wanted]
    inside += skipped[np.searchsorted(wanted, bin_of_rank)]
    return _sorted_slices(_in_bins(values, ends, wanted), [int(rank) for rank in inside])


def _bins(column: pl.Series, ends: Ends) -> Iterator[npt.NDArray[np.int32]]:
    """The bins of a column, block by block. How far an integer is above the lowest one is exact, if 64 bits allow."""
    numbers = column.to_physical().to_numpy()
    wide: Any = float
    if numbers.dtype.kind in "iu" and ends.high - ends.low < 1 << 63:
        wide = np.uint64 if numbers.dtype == np.uint64 else np.int64
    for start in range(0, len(numbers), BLOCK):
        above = np.subtract(numbers[start : start + BLOCK], ends.low, dtype=wide, casting="unsafe")
        yield (above * ends.scale).astype(np.int32)


def _in_bins(values: Columns, ends: Ends, wanted: Sequence[int] | npt.NDArray[np.int64]) -> Iterator[pl.Series]:
    for column in values():
        masks = [np.isin(bins, wanted) for bins in _bins(column, ends)]
        yield column.filter(pl.Series(np.concatenate([*masks, np.zeros(0, bool)])))


def _sorted_slices(columns: Iterable[pl.Series], ranks: Sequence[int]) -> list[pl.Series]:
    ordered = pl.concat(columns).sort()
    return [ordered.slice(rank, 1) for rank in ranks]
