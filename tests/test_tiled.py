import numpy as np
import pytest

from recsys import tiled


@pytest.mark.parametrize("block_items", [4, 16])
@pytest.mark.parametrize(("num_items", "fetch"), [(1, 1), (3, 2), (16, 5), (67, 1), (67, 30), (67, 67), (2_500, 100)])
def test_best_is_what_sorting_all_scores_gives(monkeypatch, block_items, num_items, fetch):
    monkeypatch.setattr(tiled, "TILE_ITEMS", 32)
    monkeypatch.setattr(tiled, "TILE_USERS", 5)
    monkeypatch.setattr(tiled, "block_items", lambda _: block_items)
    rng = np.random.default_rng(num_items)
    items, users = (rng.integers(-4, 5, (count, 3)).astype(np.float32) for count in (num_items, 12))  # exact, with ties
    rows, scores = tiled.best(items, users, fetch)
    assert (rows.dtype, scores.dtype) == (np.int64, np.float32)
    every = users @ items.T
    np.testing.assert_array_equal(np.sort(scores), np.sort(every)[:, num_items - fetch :])
    np.testing.assert_array_equal(scores, np.take_along_axis(every, rows, axis=1))
    assert all(len(set(row)) == fetch for row in rows.tolist())


def test_tiles_are_whole_blocks():
    for num_items in (10, 10_000, 10_000_000):
        assert tiled.TILE_ITEMS % tiled.block_items(num_items) == 0


def test_nobody_asks():
    rows, scores = tiled.best(np.ones((9, 2), np.float32), np.ones((0, 2), np.float32), 3)
    assert rows.shape == scores.shape == (0, 3)
