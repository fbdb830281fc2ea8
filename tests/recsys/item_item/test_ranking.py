"""Weights of a history and the best of every row, against loops."""

import numpy as np
import pytest

from recsys.data.jagged import Jagged
from recsys.item_item.ranking import best, event_weights, history_weights, rank_by

HISTORIES = Jagged.from_rows([[3, 0, 1, 3], [], [2]])


@pytest.mark.parametrize(("half_life", "weights"), [(None, [1, 0, 1, 1, 1]), (2.0, [0.5**1.5, 0, 0.5**0.5, 1, 1])])
def test_an_event_loses_weight_with_the_events_after_it(half_life, weights):
    np.testing.assert_allclose(event_weights(HISTORIES, half_life), weights)
    rows = history_weights(HISTORIES, 3, half_life).toarray()
    np.testing.assert_allclose(rows[0], [0, weights[2], 0, weights[0] + weights[3]], rtol=1e-6)
    np.testing.assert_allclose(rows[1:], [[0, 0, 0, 0], [0, 0, 1, 0]])


@pytest.mark.parametrize("k", [1, 3, 8, 20])
def test_the_best_of_a_row_are_those_of_a_sort(k):
    scores = np.random.default_rng(k).integers(0, 4, (30, 8)).astype(np.float32)
    scores[scores == 0] = -np.inf
    row, rank, column = best(scores, k)
    for query in range(len(scores)):
        expected = [item for item in np.argsort(-scores[query], kind="stable") if scores[query, item] > -np.inf][:k]
        assert column[row == query].tolist() == expected
        assert rank[row == query].tolist() == [*range(len(expected))]


def test_a_ranking_leaves_out_the_history_and_what_is_no_candidate():
    def score(chunk):
        return np.tile(np.float32([9, 1, 2, 2]), (len(chunk), 1))

    everything, some = None, np.array([True, True, False, True])
    assert rank_by(score, 4, HISTORIES, 3, everything).tolist() == [[2, 0, 0], [2, 3, 1], [3, 1, 0]]
    assert rank_by(score, 4, HISTORIES, 3, some).tolist() == [[0, 0, 0], [3, 1, 0], [3, 1, 0]]
