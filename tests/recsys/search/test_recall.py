import numpy as np

from recsys.search.recall import recall_at


def test_recall_is_the_mean_share_of_exact_answers_without_padding():
    exact_BK = np.array([[1, 2, 3, 4], [5, 6, 0, 0]], np.int32)
    assert recall_at(np.array([[4, 9, 1, 8], [6, 5, 0, 0]], np.int32), exact_BK) == 0.75
    assert recall_at(np.array([[5, 6, 0, 0], [1, 2, 3, 4]], np.int32), exact_BK) == 0.0
