"""The value at a rank of a column that may be larger than memory."""

import math

import polars as pl

FEW = 1 << 20  # so many values are simply sorted
NUM_BINS = 1 << 16


def value_at_rank(values: pl.LazyFrame, rank: int, few: int = FEW) -> pl.Series:
    """The value that would be at ``rank``, from 0, if the column were sorted; as a column of one row.

    Args:
        values: One column without nulls.
        rank: Below the number of values.
        few: How many values may be in memory.

    The values are counted in bins of equal width, and the search goes on in the bin that holds the rank. Every step
    reads the column twice and holds the counts of the bins only. The extremes are in bins of their own, so that every
    step leaves out some values. Text, and numbers too far apart or too close for floats, are sorted in memory.
    """
    (name,) = values.collect_schema()
    number = pl.col(name).to_physical()
    while values.collect_schema()[name].is_numeric() or values.collect_schema()[name].is_temporal():
        low, high, count = (
            values.select(low=number.min(), high=number.max(), count=pl.len()).collect(engine="streaming").row(0)
        )
        if low == high:
            return values.head(1).collect().to_series()
        span = float(high) - float(low)
        if count <= few or not span or not math.isfinite(span) or not math.isfinite(NUM_BINS / span):
            break
        in_bin = ((number.cast(pl.Float64) - float(low)) * (NUM_BINS / span)).floor().cast(pl.Int32)
        counts = values.group_by(in_bin.alias("bin")).len().collect(engine="streaming").sort("bin")
        ends = counts.get_column("len").cast(pl.Int64).cum_sum()
        index = int((ends <= rank).sum())
        rank -= ends[index - 1] if index else 0
        values = values.filter(in_bin == counts.get_column("bin")[index])
    return values.collect().to_series().sort().slice(rank, 1)
