"""Random histories over a small catalogue, and their ranking by brute force."""

import numpy as np

from recsys.data.jagged import Jagged

NUM_ITEMS, K = 30, 10


def random_rows(seed, num_rows, longest=12):
    """Histories with repeats and unknown items; the last three items are in none: they are cold."""
    rng = np.random.default_rng(seed)
    rows = [rng.integers(0, NUM_ITEMS - 2, rng.integers(0, longest)).tolist() for _ in range(num_rows)]
    return rows, Jagged.from_rows(rows)


def best(score, history, k, candidates=None):
    """Rank one query by brute force; score [N], -inf where nothing can be ranked."""
    order = sorted(range(1, len(score)), key=lambda item: (-score[item], item))
    kept = [
        item
        for item in order
        if score[item] > -np.inf and item not in history and (candidates is None or candidates[item])
    ]
    return (kept + [0] * k)[:k]
