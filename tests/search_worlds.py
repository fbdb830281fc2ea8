"""Catalogues and users to search, and the answers by definition.

Legend as in recsys/search/index.py: B users, N items, D dimensions, K answers.
"""

import numpy as np


def brute_force(vectors_ND, users_BD, k, excluded=None, allowed=None):
    """The contract, one user and one item at a time."""
    positions, scores = [], []
    for row, user in enumerate(users_BD.astype(np.float64)):
        banned = set() if excluded is None else set(excluded[row].tolist())
        eligible = [i for i in range(1, len(vectors_ND)) if i not in banned and (allowed is None or allowed[i])]
        exact = {i: np.float32(np.dot(vectors_ND[i].astype(np.float64), user)) for i in eligible}
        best = sorted(eligible, key=lambda i: (-exact[i], i))[:k]
        positions.append(best + [0] * (k - len(best)))
        scores.append([exact[i] for i in best] + [-np.inf] * (k - len(best)))
    return np.array(positions, np.int32).reshape(-1, k), np.array(scores, np.float32).reshape(-1, k)


def catalogue(num_items, dim=16, seed=0):
    """Clustered vectors whose norms spread, and users near the clusters."""
    rng = np.random.default_rng(seed)
    centre_CD = rng.normal(size=(40, dim)) * np.arange(1, dim + 1) ** -0.5
    item_ND = centre_CD[rng.integers(40, size=num_items)] + 0.4 * rng.normal(size=(num_items, dim))
    item_ND *= rng.lognormal(0, 0.2, (num_items, 1))
    user_BD = centre_CD[rng.integers(40, size=200)] + 0.4 * rng.normal(size=(200, dim))
    return np.vstack([np.full(dim, 9.0), item_ND]).astype(np.float32), user_BD.astype(np.float32)


def tied_catalogue(num_items=600, dim=4, seed=1):
    """Small whole numbers: many equal vectors, equal scores and zero vectors."""
    rng = np.random.default_rng(seed)
    return (rng.integers(-1, 2, (n, dim)).astype(np.float32) for n in (num_items + 1, 20))


def assert_same(answers, expected):
    np.testing.assert_array_equal(answers[0], expected[0])
    np.testing.assert_array_equal(answers[1], expected[1])
    assert (answers[0].dtype, answers[1].dtype) == (np.int32, np.float32)
