"""Metadata-kNN against brute force; what all rankings have in common is tested in test_baselines.py."""

import numpy as np
import polars as pl
import pytest
from scipy.sparse import csr_array

from recsys.data.encoder import Transform
from recsys.data.jagged import Jagged
from training.evaluation.metadata_knn import _unit_rows, feature_matrix, metadata_knn

NUM_ITEMS, NUM_FEATURES, K = 30, 7, 10


@pytest.mark.parametrize("as_sparse", [False, True])
def test_items_are_ranked_by_cosine_with_the_profile_of_the_history(as_sparse):
    rng = np.random.default_rng(4)
    features = rng.integers(1, 4, (NUM_ITEMS + 1, NUM_FEATURES)) * (rng.random((NUM_ITEMS + 1, NUM_FEATURES)) < 0.3)
    features = features.astype(np.float64)
    features[[0, 5]] = 0
    histories = [rng.integers(0, NUM_ITEMS, rng.integers(0, 12)).tolist() for _ in range(40)]
    asked = Jagged.from_rows(histories)
    ranked = metadata_knn(csr_array(features) if as_sparse else features, asked, K)
    norm = np.linalg.norm(features, axis=1)
    unit = features / np.where(norm > 0, norm, 1)[:, None]
    for history, ranking in zip(histories, ranked.tolist(), strict=True):
        profile = sum((unit[item] for item in history), np.zeros(NUM_FEATURES))
        score = unit @ profile
        eligible = [item for item in range(1, NUM_ITEMS + 1) if item not in history and norm[item] and profile.any()]
        expected = sorted(eligible, key=lambda item: (-score[item], item))[:K]
        found = [item for item in ranking if item]
        assert len(found) == len(expected)
        np.testing.assert_allclose(score[found], score[expected], atol=1e-6)


def test_unit_rows_of_a_sparse_matrix_stay_csr():
    """Taking the rows of scipy's other format would need a byte for every entry and every item."""
    unit, described = _unit_rows(csr_array(np.array([[0.0, 0.0], [3.0, 4.0]])))
    assert unit.format == "csr"
    np.testing.assert_allclose(unit.toarray(), [[0, 0], [0.6, 0.8]])
    assert described.tolist() == [False, True]


def test_a_matrix_holds_counts_of_words_and_plain_numbers():
    words = Transform("tags", "multi_categorical", size=4, vocabulary=("a", "b", "c"))
    year = Transform("year", "numeric", size=1)
    encoded = pl.DataFrame(
        {"tags": [[1, 3, 3], []], "year": [0.5, -1.0]}, schema={"tags": pl.List(pl.Int32), "year": pl.Float32}
    )
    matrix = feature_matrix((words, year), encoded).toarray()
    np.testing.assert_array_equal(matrix, [[0, 0, 0, 0, 0], [0, 1, 0, 2, 0.5], [0, 0, 0, 0, -1]])
