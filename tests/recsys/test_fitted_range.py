import numpy as np
import pytest

from recsys.fitted_range import FittedRange, fit_range, shortened

DRAW = np.random.default_rng(0)
PRICES = [float(price) for price in range(10, 70)]


@pytest.mark.parametrize(
    "numbers",
    [
        DRAW.normal(size=10_000), np.exp(1.5 * DRAW.normal(size=10_000)), 1 + DRAW.pareto(2, 10_000),
        [0.0] * 990 + [*range(1, 11)], [0.0] * 999 + [1.0], [7.0], [7.0] * 9, [1.0, 2.0], [5e-324, 1e-300],
        1.7e9 + DRAW.uniform(0, 3e7, 1000), -np.exp(DRAW.normal(size=1000)), [1920.0, 1999.0, 2001.0, 2020.0, 2024.0],
        [*DRAW.uniform(5, 6, 90), *[1000.0] * 10], 2.0**60 + np.arange(100),
    ],
    ids=["normal", "lognormal", "pareto", "counts", "flag", "one", "constant", "two", "denormal", "times", "negative",
         "years", "two groups", "large integers"],
)  # fmt: skip
def test_ordinary_numbers_keep_their_whole_range(numbers):
    numbers = np.array(numbers, float)
    fitted = fit_range(numbers)
    assert fitted == FittedRange(numbers.min(), numbers.max())
    assert fitted.count_outside(numbers) == 0
    np.testing.assert_array_equal(fitted.clip(numbers), numbers)


@pytest.mark.parametrize(
    ("outliers", "low", "high"),
    [
        ([1e9], 10, 98), ([1e308], 10, 98), ([1e308, 1e9], 10, 98), ([-1e9], -19, 69), ([-1e308, 1e308], -21, 99),
    ],
)  # fmt: skip
def test_outliers_are_cut_off_near_the_others(outliers, low, high):
    numbers = np.array([*PRICES, *outliers])
    fitted = fit_range(numbers)
    assert fitted.low == pytest.approx(low, abs=3)
    assert fitted.high == pytest.approx(high, abs=3)
    assert fitted.count_outside(numbers) == len(outliers)


def test_nothing_and_missing_numbers():
    assert fit_range(np.zeros(0)) == FittedRange(0.0, 0.0)
    assert FittedRange(0.0, 1.0).count_outside(np.array([np.nan, np.inf, 2.0, 0.5])) == 1


def test_counts_that_are_mostly_zero_are_judged_by_the_others():
    assert fit_range(np.array([0.0] * 998 + [1.0, 1e9])) == FittedRange(0.0, 2.0)
    assert fit_range(np.array([0.0] * 995 + [5e-324, 1, 2, 3, 4])) == FittedRange(0.0, 4.0)


def test_rows_that_are_not_too_long_keep_their_bits():
    vectors = DRAW.normal(size=(5, 3)).astype(np.float32)
    assert shortened(vectors, 100.0) is vectors
    shorter = shortened(vectors * np.float32([1, 1, 1, 1, 1e30])[:, None], 9.0)
    np.testing.assert_array_equal(shorter[:4], vectors[:4])
    assert np.linalg.norm(shorter[4]) == pytest.approx(9)
