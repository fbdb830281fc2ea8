from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from features.order_statistic import value_at_rank

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
    wanted = column.sort()
    for rank in {0, 1, len(column) // 3, len(column) * 9 // 10, len(column) - 1} & {*range(len(column))}:
        value = value_at_rank(column.to_frame().lazy(), rank, few=2)
        assert value.equals(wanted.slice(rank, 1))
        assert value.dtype == column.dtype


def test_many_equal_values_need_no_sorting() -> None:
    values = pl.Series("time", [1] * 40 + [2] * 40 + [3] * 40).to_frame().lazy()
    assert [value_at_rank(values, rank, few=1).item() for rank in (39, 40, 79, 80)] == [1, 2, 2, 3]
