from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from features import order_statistic
from features.order_statistic import Ends, values_at_ranks

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    "values",
    [
        RNG.integers(-(1 << 62), 1 << 62, 3_000), RNG.integers(0, 5, 3_000), np.append(np.arange(300) % 9, 1 << 61),
        RNG.integers(1 << 62, (1 << 62) + 9, 3_000), RNG.lognormal(0, 9, 3_000), np.array([-1e308, 1e308, 0.0]),
        np.array([0.0, 5e-324, 1e-323]), RNG.integers(-128, 128, 3_000).astype(np.int8),
        np.array([0, (1 << 64) - 1, 1 << 63, 5], np.uint64), [date(2020, 1, 1) + timedelta(k % 77) for k in range(500)],
        ["b", "a", "c", "a"], [timedelta(3), timedelta(1), timedelta(2)], [7],
    ],
)  # fmt: skip
def test_the_value_is_that_of_a_sorted_column(values: Any) -> None:
    column = pl.Series("time", values)
    wanted, columns = column.sort(), [column.head(0), column.head(len(column) // 2), column.slice(len(column) // 2)]
    ranks = sorted({0, 1, len(column) // 3, len(column) * 9 // 10, len(column) - 1} & {*range(len(column))})
    for few in (2, len(column) // 2):
        for some in (ranks, ranks[::-1], ranks[:1]):
            for rank, value in zip(some, values_at_ranks(lambda: columns, some, few=few), strict=True):
                assert value.equals(wanted.slice(rank, 1))
                assert value.dtype == column.dtype


def test_many_equal_values_need_no_sorting() -> None:
    columns = [pl.Series("time", [value] * 40) for value in (3, 1, 2)]
    assert [value.item() for value in values_at_ranks(lambda: columns, [39, 40, 79, 80], few=1)] == [1, 2, 2, 3]


@pytest.mark.parametrize(("start", "dtype"), [(1_700_000_000 * 10**9, pl.Int64), ((1 << 64) - 9, pl.UInt64)])
def test_large_integers_that_floats_do_not_tell_apart_need_none(
    start: int, dtype: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    columns = [pl.Series("time", [start + k % 7 for k in range(700)], dtype)]
    ends = Ends(start, start + 6, 700)
    assert Ends.of(columns) == ends
    monkeypatch.setattr(order_statistic, "_sorted_slices", None)
    values = values_at_ranks(lambda: columns, [99, 100, 650], ends, few=3)
    assert [value.item() - start for value in values] == [0, 1, 6]
