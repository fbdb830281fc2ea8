import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from recsys.data.jagged import Jagged
from training.batches.negatives import NegativePool, NegativeSampler, OwnItems

COUNTS = np.array([999, 50, 1, 0, 7, 20, 3], np.int64)  # row 0 is the unknown item


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
def test_shares_are_proportional_to_a_power_of_the_counts(exponent):
    sampler = NegativeSampler.from_counts(COUNTS, exponent)
    share = np.exp(sampler.log_share)
    assert share[0] == 0.0
    np.testing.assert_allclose(share.sum(), 1.0)
    weights = [0.0] + [int(count) ** exponent if count else 0.0 for count in COUNTS[1:]]  # one never seen is not drawn
    np.testing.assert_allclose(share, np.array(weights) / sum(weights))


@pytest.mark.parametrize("exponent", [0.0, 0.75])
def test_items_are_drawn_in_proportion_to_their_shares(exponent):
    sampler = NegativeSampler.from_counts(COUNTS, exponent)
    drawn = np.bincount(sampler.draw(np.random.default_rng(3), 50_000), minlength=len(COUNTS))
    assert drawn[0] == drawn[3] == 0
    seen = COUNTS[1:].nonzero()[0] + 1
    assert chisquare(drawn[seen], 50_000 * np.exp(sampler.log_share[seen])).pvalue > 1e-3
    other = NegativeSampler.from_counts(COUNTS, 0.6)  # which the test would notice
    assert chisquare(drawn[seen], 50_000 * np.exp(other.log_share[seen])).pvalue < 1e-3


class ExtremeGenerator:
    """Draws the smallest and the largest number of its range."""

    def random(self, count):
        return np.array([0.0, np.nextafter(1.0, 0.0)])[:count]


def test_the_smallest_and_largest_random_numbers_draw_valid_rows():
    for num_items in (1, 3, 7, 49):  # with shares whose sum may round to less than 1
        sampler = NegativeSampler.from_counts(np.ones(num_items + 1, np.int64), 0.0)
        assert sampler.draw(ExtremeGenerator(), 2).tolist() == [1, num_items]
        unseen_last = NegativeSampler.from_counts(np.array([0] + [1] * num_items + [0, 0]), 0.0)
        assert unseen_last.draw(ExtremeGenerator(), 2).tolist() == [1, num_items]


def test_the_same_seed_draws_the_same_items():
    sampler = NegativeSampler.from_counts(COUNTS, 0.5)
    first, again, other = (sampler.draw(np.random.default_rng(seed), 100) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_the_expected_counts_add_up_over_both_sources():
    drawn, batch = NegativeSampler.from_counts(COUNTS, 0.0), NegativeSampler.from_counts(COUNTS, 1.0)
    total = 50 + 1 + 7 + 20 + 3
    by_hand = [30 / 5 + 12 * int(count) / total if count else 0.0 for count in COUNTS[1:]]
    rows = np.arange(len(COUNTS))
    both = NegativePool(drawn, batch).log_expected(30, 12, rows)
    np.testing.assert_allclose(np.exp(both[1:]), by_hand)
    assert both[0] == -np.inf
    np.testing.assert_allclose(np.exp(both).sum(), 42)  # the size of the pool
    seen = COUNTS[1:].nonzero()[0] + 1
    np.testing.assert_allclose(NegativePool(drawn, None).log_expected(30, 12, seen), np.log(30 / 5))
    rows = np.array([3, 1, 1, 5])
    np.testing.assert_array_equal(NegativePool(drawn, batch).log_expected(30, 12, rows), both[rows])


def test_the_pool_holds_the_positives_only_if_they_take_part():
    sampler = NegativeSampler.from_counts(COUNTS, 0.0)
    drawn, positives = torch.tensor([1, 2]), torch.tensor([3])
    assert NegativePool(sampler, None).members(drawn, positives).tolist() == [1, 2]
    assert NegativePool(sampler, sampler).members(drawn, positives).tolist() == [1, 2, 3]


def test_own_items_are_sorted_within_each_user():
    own = OwnItems.from_histories(Jagged.from_rows([[9, 3, 5], [], [1, 8, 2]]))
    assert own.offsets.tolist() == [0, 3, 3, 6]
    assert own.ids.tolist() == [3, 5, 9, 1, 2, 8]


def test_own_items_hold_what_the_history_holds():
    own = OwnItems.from_histories(Jagged.from_rows([[9, 3, 5], [], [1, 8, 2]]))
    held = own.hold(torch.tensor([2, 0, 1, 0]), torch.tensor([3, 8, 9, 10_000]))
    assert held.int().tolist() == [[0, 1, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0], [1, 0, 1, 0]]


def test_empty_histories_hold_nothing():
    own = OwnItems.from_histories(Jagged.from_rows([[], []]))
    assert not own.hold(torch.tensor([1, 0]), torch.tensor([1, 2, 3])).any()


def test_own_items_beyond_the_ids_of_the_pool_are_not_mistaken_for_others():
    own = OwnItems.from_histories(Jagged.from_rows([[1000, 12], [11], [10, 500], [20]]))
    assert not own.hold(torch.arange(4), torch.arange(1, 10)).any()
