import numpy as np

from recsys.search import rescoring
from recsys.search.index import ItemIndex
from recsys.search.rescoring import from_sort_keys, rescore, sort_keys, top_k


def test_sort_keys_order_by_score_then_position():
    scores = np.array([[-0.0, 2.5, -np.inf, 0.0, -3.0, 2.5, np.inf]], np.float32)
    positions = np.array([[4, 9, 0, 2, 1, 3, 8]])
    sorted_positions, sorted_scores = from_sort_keys(np.sort(sort_keys(scores, positions), axis=1))
    assert sorted_positions.tolist() == [[8, 3, 9, 2, 4, 1, 0]]
    assert sorted_scores.tolist() == [[np.inf, 2.5, 2.5, 0.0, 0.0, -3.0, -np.inf]]


def test_minus_zero_ties_with_zero():
    vectors_ND = np.array([[0], [-1e-30], [0], [-1e-30]], np.float32)  # the products underflow to -0.0
    positions_BK, _ = ItemIndex.build(vectors_ND).search(np.array([[1e-30]], np.float32), 3)
    assert positions_BK.tolist() == [[1, 2, 3]]


def test_padding_comes_last_in_the_top_k():
    vectors = np.array([[9, 9], [1, 0], [-2, 0], [0, 1]], np.float32)
    positions, scores = top_k(vectors, np.array([[1, 0]], np.float32), np.array([[0, 2, 1]]), 5)
    assert positions.tolist() == [[1, 2, 0]]
    assert scores.tolist() == [[1, -2, -np.inf]]


def test_the_number_of_values_at_once_changes_no_score(monkeypatch):
    rng = np.random.default_rng(0)
    vectors, users = (rng.standard_normal((count, 7)).astype(np.float32) for count in (50, 6))
    positions = rng.integers(0, 50, (6, 20))
    whole = rescore(vectors, users, positions)
    for size in (1, 30, 300):
        monkeypatch.setattr(rescoring, "RESCORE_VALUES", size)
        np.testing.assert_array_equal(rescore(vectors, users, positions), whole)
