import numpy as np
import pytest

from recsys import tiled


def small(monkeypatch):
    monkeypatch.setattr(tiled, "TILE_ITEMS", 32)
    monkeypatch.setattr(tiled, "SAMPLE_ITEMS", 20)


@pytest.mark.parametrize(("num_items", "fetch"), [(1, 1), (3, 2), (64, 5), (67, 1), (67, 30), (67, 67), (2_500, 100)])
def test_all_that_exceed_the_floor_are_found_and_nothing_else(monkeypatch, num_items, fetch):
    small(monkeypatch)
    rng = np.random.default_rng(num_items)
    items, users = (rng.integers(-4, 5, (count, 3)).astype(np.float32) for count in (num_items, 12))  # exact, with ties
    rows, scores, floor = tiled.exceeding(items, tiled.sample(items), users, fetch)
    assert (rows.dtype, scores.dtype, floor.dtype) == (np.int64, np.float32, np.float32)
    every = users @ items.T
    for user in range(12):
        known = rows[user] >= 0
        assert sorted(rows[user][known]) == np.flatnonzero(every[user] > floor[user]).tolist()
        np.testing.assert_array_equal(scores[user][known], every[user][rows[user][known]])
        assert (scores[user][~known] == -np.inf).all()


def test_a_sample_finds_the_score_that_enough_exceed():
    rng = np.random.default_rng(0)
    items, users = (rng.standard_normal((count, 8)).astype(np.float32) for count in (50_000, 300))
    rows, _, _ = tiled.exceeding(items, tiled.sample(items), users, 128)
    counts = (rows >= 0).sum(axis=1)
    assert (counts >= 128).mean() > 0.98
    assert counts.mean() < 320


def test_a_sample_that_misleads_bounds_what_is_held(monkeypatch):
    small(monkeypatch)
    monkeypatch.setattr(tiled, "MOST", 3)
    items = np.full((400, 1), 2, np.float32)
    items[::20] = 1  # all that is sampled; the rest exceed it
    users = np.ones((5, 1), np.float32)
    rows, scores, floor = tiled.exceeding(items, tiled.sample(items), users, 4)
    assert rows.shape == scores.shape == (5, 0)
    assert (floor == 1).all()
    users[1:] = 0  # they find nothing, and the first alone is too many
    rows, scores, _ = tiled.exceeding(items, tiled.sample(items), users, 40)
    assert rows.shape == scores.shape == (5, 0)


def test_nobody_asks():
    items = np.ones((9, 2), np.float32)
    rows, scores, floor = tiled.exceeding(items, tiled.sample(items), np.ones((0, 2), np.float32), 3)
    assert (len(rows), len(scores), len(floor)) == (0, 0, 0)
