"""Two towers rank by the index of their bundle; test_retriever.py asks them every kind of question."""

import numpy as np

from recsys.bundle import load_bundle
from recsys.data.jagged import Jagged
from recsys.rankers.two_tower_ranker import TwoTowerRanker


def test_the_ranking_is_the_inner_products_and_the_terms_add_nothing_unseen(small_run):
    bundle, _ = load_bundle(small_run.run / "bundle")
    ranker, history, rows = TwoTowerRanker(bundle), Jagged.from_rows([[5, 0, 9], [12]]), np.zeros(2, np.int64)
    top = ranker.rank(history, ranker.encode(history, rows), k=4, exclude_seen=True, allowed=None)
    scores = ranker.encode(history, rows).astype(np.float64) @ bundle.item_vectors.T.astype(np.float64)
    assert top.num_popular is None
    np.testing.assert_array_equal(np.float32(np.take_along_axis(scores, top.positions, axis=1)), top.scores)
    terms = ranker.terms(history.take(np.array([0])), rows[:1], int(top.positions[0, 0]))
    assert terms.positions.tolist() == [5, 9]
    np.testing.assert_allclose(terms.score, top.scores[0, 0], rtol=1e-6)
