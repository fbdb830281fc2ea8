"""Metrics against a loop-only oracle, and their degenerate cases worked by hand."""

import math

import numpy as np
import pytest

from recsys import metrics
from recsys.data.jagged import Jagged
from recsys.metrics import Interval

NUM_ITEMS, NUM_RANKS = 12, 8


def random_queries(seed, num_queries=200):
    """Rankings without repeats, padded at random; targets with unknown items and repeats."""
    rng = np.random.default_rng(seed)
    ranked = np.stack([rng.permutation(NUM_ITEMS)[:NUM_RANKS] + 1 for _ in range(num_queries)]).astype(np.int32)
    ranked[np.arange(NUM_RANKS) >= rng.integers(0, NUM_RANKS + 1, num_queries)[:, None]] = 0
    targets = [rng.integers(0, NUM_ITEMS + 1, rng.integers(1, 6)).tolist() for _ in range(num_queries)]
    return ranked, targets


def oracle(ranking, targets, k):
    """Recall, NDCG, reciprocal rank and hit rate of one query, by definition."""
    known = {target for target in targets if target > 0}
    num_targets = len(known) + targets.count(0)
    found, gain, first = 0, 0.0, 0.0
    for rank, item in enumerate(ranking[:k], start=1):
        if item in known:
            found += 1
            gain += 1 / math.log2(rank + 1)
            if not first:
                first = 1 / rank
    ideal = 0.0
    for rank in range(1, min(k, num_targets) + 1):
        ideal += 1 / math.log2(rank + 1)
    return found / num_targets, gain / ideal, first, float(found > 0)


def measured(ranked, targets, k):
    hits = metrics.hits(ranked, targets)
    num_targets = metrics.count_targets(targets)
    return np.stack(
        [
            metrics.recall(hits, num_targets, k),
            metrics.ndcg(hits, num_targets, k),
            metrics.mrr(hits, k),
            metrics.hit_rate(hits, k),
        ],
        axis=1,
    )


@pytest.mark.parametrize("k", [1, 3, NUM_RANKS])
def test_accuracy_is_the_oracles(k):
    ranked, targets = random_queries(seed=k)
    expected = [oracle(row.tolist(), wanted, k) for row, wanted in zip(ranked, targets, strict=True)]
    np.testing.assert_allclose(measured(ranked, Jagged.from_rows(targets), k), expected, atol=1e-12)


def test_chunks_change_no_hit(monkeypatch):
    ranked, targets = random_queries(seed=5)
    whole = metrics.hits(ranked, Jagged.from_rows(targets))
    monkeypatch.setattr(metrics, "CACHED", 3 * NUM_RANKS)
    assert (metrics.hits(ranked, Jagged.from_rows(targets)) == whole).all()


def test_perfect_ranking_scores_one_and_adversarial_zero():
    ranked = np.array([[1, 2, 3, 4]], np.int32)
    assert (measured(ranked, Jagged.from_rows([[1, 2, 3, 4]]), 4) == 1).all()
    assert (measured(ranked, Jagged.from_rows([[2, 1]]), 2) == 1).all()
    assert (measured(ranked, Jagged.from_rows([[5, 6]]), 4) == 0).all()


def test_values_worked_by_hand():
    ranked = np.array([[7, 3, 9, 5]], np.int32)
    recall, ndcg, mrr, hit = measured(ranked, Jagged.from_rows([[3, 5, 0]]), 4)[0]
    assert recall == pytest.approx(2 / 3)  # the unknown target stays in the denominator
    assert ndcg == pytest.approx((1 / math.log2(3) + 1 / math.log2(5)) / (1 + 1 / math.log2(3) + 1 / 2))
    assert (mrr, hit) == (0.5, 1.0)


def test_more_targets_than_ranks():
    recall, ndcg, _, _ = measured(np.array([[1, 2]], np.int32), Jagged.from_rows([[1, 2, 3, 4, 5]]), 2)[0]
    assert (recall, ndcg) == (pytest.approx(0.4), 1.0)


def test_padding_and_unknown_targets_never_meet():
    assert (measured(np.zeros((1, 3), np.int32), Jagged.from_rows([[0]]), 3) == 0).all()


def test_targets_are_counted_once_but_unknown_ones_each():
    assert metrics.count_targets(Jagged.from_rows([[4, 4, 2], [0, 0, 1], [4]])).tolist() == [2, 3, 1]


def test_query_without_targets_is_refused():
    with pytest.raises(ValueError, match="1 of 2 queries have no target"):
        metrics.count_targets(Jagged.from_rows([[1], []]))
    for metric in (metrics.recall, metrics.ndcg):
        with pytest.raises(ValueError, match="1 of 2 queries have no target"):
            metric(np.zeros((2, 3), bool), np.array([1, 0]), 3)


@pytest.mark.parametrize("k", [0, 4])
def test_k_beyond_the_ranking_is_refused(k):
    hits, ranked = np.zeros((2, 3), bool), np.zeros((2, 3), np.int32)
    with pytest.raises(ValueError, match="3 ranks"):
        metrics.mrr(hits, k)
    with pytest.raises(ValueError, match="3 ranks"):
        metrics.coverage(ranked, NUM_ITEMS, k)


@pytest.mark.parametrize("k", [1, NUM_RANKS])
def test_coverage_and_novelty_are_the_oracles(k):
    ranked, _ = random_queries(seed=9, num_queries=6)
    counts = np.random.default_rng(0).integers(0, 50, NUM_ITEMS + 1)
    total = sum(counts[1:].tolist())
    shown, bits = set(), []
    for row in ranked.tolist():
        items = [item for item in row[:k] if item > 0]
        shown |= set(items)
        own = [-math.log2((counts[item] + 1) / (total + NUM_ITEMS)) for item in items]
        bits.append(sum(own) / len(own) if own else 0.0)
    assert metrics.coverage(ranked, NUM_ITEMS, k) == pytest.approx(len(shown) / NUM_ITEMS)
    np.testing.assert_allclose(metrics.novelty(ranked, counts, k), bits)


def test_novelty_of_equally_popular_items_is_the_log_of_their_number():
    assert metrics.novelty(np.array([[1, 8, 0]], np.int32), np.full(9, 5), 3).tolist() == [pytest.approx(3.0)]


def test_exposure_gini_is_the_mean_absolute_difference():
    ranked, _ = random_queries(seed=2, num_queries=30)
    shown = [int((ranked == item).sum()) for item in range(1, NUM_ITEMS + 1)]
    difference = sum(abs(a - b) for a in shown for b in shown)
    expected = difference / (2 * NUM_ITEMS * sum(shown))
    assert metrics.exposure_gini(ranked, NUM_ITEMS, NUM_RANKS) == pytest.approx(expected)


def test_exposure_gini_at_its_ends():
    one = np.full((9, 1), 3, np.int32)
    all_once = np.arange(1, 11, dtype=np.int32)[:, None]
    assert metrics.exposure_gini(one, 10, 1) == pytest.approx(0.9)
    assert metrics.exposure_gini(all_once, 10, 1) == pytest.approx(0)
    assert metrics.exposure_gini(np.zeros((2, 1), np.int32), 10, 1) == 0


def test_bootstrap_agrees_with_the_normal_interval():
    values = np.random.default_rng(3).random(4000)
    interval = metrics.bootstrap_mean(values, seed=1, num_samples=2000)
    half = 1.96 * values.std() / math.sqrt(len(values))
    assert interval.mean == pytest.approx(values.mean())
    assert interval.low == pytest.approx(values.mean() - half, abs=half / 10)
    assert interval.high == pytest.approx(values.mean() + half, abs=half / 10)


@pytest.mark.parametrize(("level", "at_least", "at_most"), [(0.95, 0.90, 0.98), (0.5, 0.42, 0.58)])
def test_bootstrap_interval_covers_the_truth_as_often_as_it_says(level, at_least, at_most):
    rng = np.random.default_rng(0)
    intervals = [
        metrics.bootstrap_mean(rng.exponential(size=100), seed=trial, num_samples=200, level=level)
        for trial in range(400)
    ]
    covered = np.mean([interval.low <= 1 <= interval.high for interval in intervals])
    assert at_least < covered < at_most


def test_bootstrap_is_seeded():
    values = np.random.default_rng(0).random(50)
    first = metrics.bootstrap_mean(values, seed=4)
    assert metrics.bootstrap_mean(values, seed=4) == first
    assert metrics.bootstrap_mean(values, seed=5) != first


def test_bootstrap_without_spread_has_no_width():
    assert metrics.bootstrap_mean(np.array([0.25]), seed=0) == Interval(0.25, 0.25, 0.25)
    assert metrics.bootstrap_mean(np.full(7, 0.5), seed=0) == Interval(0.5, 0.5, 0.5)


@pytest.mark.parametrize("values", [[], [1.0, math.nan]])
def test_bootstrap_refuses_what_has_no_mean(values):
    with pytest.raises(ValueError, match="finite"):
        metrics.bootstrap_mean(np.array(values), seed=0)


def test_paired_bootstrap_sees_what_the_spread_between_users_hides():
    rng = np.random.default_rng(1)
    worse = rng.random(500)
    better = worse + rng.normal(0.01, 0.01, 500)
    difference = metrics.paired_bootstrap(better, worse, seed=0)
    assert 0 < difference.low < difference.mean < difference.high < 0.02
    assert difference == metrics.bootstrap_mean(better - worse, seed=0)
    assert metrics.bootstrap_mean(worse, seed=0).high > metrics.bootstrap_mean(better, seed=0).low
    assert metrics.paired_bootstrap(worse, worse, seed=0) == Interval(0.0, 0.0, 0.0)


def test_paired_bootstrap_refuses_different_users():
    with pytest.raises(ValueError, match="3 and 1"):
        metrics.paired_bootstrap(np.zeros(3), np.zeros(1), seed=0)
