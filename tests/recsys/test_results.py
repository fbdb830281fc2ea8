"""Why an answer is short or degraded."""

import numpy as np
import pytest

from recsys.results import FALLBACK, Ranking


@pytest.mark.parametrize(
    ("positions", "fallback", "reason"),
    [
        ([3, 1, 2], False, None),
        ([3, 1, 0], False, "short: only 2 eligible items"),
        ([0, 0, 0], False, "short: only 0 eligible items"),
        ([3, 1, 2], True, FALLBACK),
        ([3, 0, 0], True, f"{FALLBACK}; short: only 1 eligible items"),
    ],
)
def test_reasons(positions, fallback, reason):
    ranking = Ranking(np.array([positions], np.int32), np.zeros((1, 3), np.float32), np.array([fallback]))
    assert ranking.reasons(3).to_list() == [reason]


def test_a_row_as_wide_as_the_catalogue_is_short_of_a_larger_k():
    ranking = Ranking(np.array([[1, 2]], np.int32), np.zeros((1, 2), np.float32), np.array([False]))
    assert ranking.reasons(5).to_list() == ["short: only 2 eligible items"]


def test_nobody_has_no_reasons():
    ranking = Ranking(np.zeros((0, 3), np.int32), np.zeros((0, 3), np.float32), np.zeros(0, bool))
    assert ranking.reasons(3).to_list() == []
    assert ranking.counts.tolist() == []
