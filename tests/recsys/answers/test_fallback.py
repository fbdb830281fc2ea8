"""Who falls back to the most popular items, and which these are, worked by hand."""

import numpy as np
import pytest

from recsys.answers import MostPopular, falls_back
from recsys.data.jagged import Jagged

COUNTS = np.array([99, 2, 5, 0, 3])  # of positions 0 (ignored) to 4


def test_only_a_history_without_a_known_item_falls_back():
    assert falls_back(Jagged.from_rows([[1, 2], [], [0, 0], [0, 3]]), None).tolist() == [False, True, True, False]


@pytest.mark.parametrize(
    ("k", "allowed", "positions", "scores"),
    [
        (3, None, [2, 4, 1], [0.5, 0.3, 0.2]),
        (2, [False, True, False, True, True], [4, 1], [0.3, 0.2]),
        (3, [False, False, False, True, False], [3, 0, 0], [0.0, -np.inf, -np.inf]),
        (2, [False] * 5, [0, 0], [-np.inf, -np.inf]),
    ],
)
def test_the_most_popular_allowed_items_come_with_their_share_of_the_events(k, allowed, positions, scores):
    answer = MostPopular(COUNTS).top(k, None if allowed is None else np.array(allowed))
    assert answer[0].tolist() == positions
    np.testing.assert_array_equal(answer[1], np.array(scores, np.float32))


def test_items_of_equal_popularity_are_in_catalogue_order():
    assert MostPopular(np.array([0, 1, 2, 1, 2])).top(4, None)[0].tolist() == [2, 4, 1, 3]
