import numpy as np
import pytest

from training.evaluation import sketch


def rng():
    return np.random.default_rng(0)


def test_cosines_are_counted_in_their_bins():
    x = np.array([[1.0, 0], [2, 0], [0, 3], [1, 0]])
    y = np.array([[5.0, 0], [-1, 0], [1, 0.01], [1, 0]])
    shares = sketch.cosine_shares(x, y)
    assert (shares[-1], shares[0], shares[20]) == (0.5, 0.25, 0.25)  # 1 twice, -1, and a little above 0
    assert len(shares) == sketch.NUM_BINS
    assert sum(shares) == 1


def test_lists_are_counted_by_powers_of_two():
    assert sketch.listed_shares(np.array([0, 0, 0, 1, 2, 3, 4, 7])) == [3 / 8, 1 / 8, 2 / 8, 2 / 8]
    assert sketch.listed_shares(np.array([511, 512, 10**9]))[9:] == [0.33333, 0.66667]
    assert sum(sketch.listed_shares(np.array([511, 512]))) == 1


def test_the_plane_shows_the_whole_gap_from_left_to_right():
    noise = rng().normal(size=(600, 6)) * [0.01, 0.01, 0.3, 0.01, 0.01, 0.01]
    items, users = noise[:300], noise[300:] + np.array([0.6, 0.8, 0, 0, 0, 0])
    user_xy, item_xy = (np.array(points) for points in sketch.plane(users, items, users, items))
    gap = np.linalg.norm(users.mean(axis=0) - items.mean(axis=0))
    assert user_xy[:, 0].mean() - item_xy[:, 0].mean() == pytest.approx(gap, abs=1e-3)
    assert user_xy[:, 0].mean() == pytest.approx(gap / 2, abs=1e-3)
    assert np.std([*user_xy[:, 1], *item_xy[:, 1]]) == pytest.approx(0.3, rel=0.1)  # the widest of the other directions


def test_without_a_gap_the_plane_shows_where_both_are_widest():
    points = rng().normal(size=(200, 5)) * [0.1, 3, 0.1, 2, 0.1]
    user_xy, item_xy = (np.array(xy) for xy in sketch.plane(points, points, points[:50], points[50:70]))
    assert (user_xy.shape, item_xy.shape) == ((50, 2), (20, 2))
    assert np.abs(np.corrcoef(user_xy[:, 0], points[:50, 1])[0, 1]) > 0.99
    assert np.abs(np.corrcoef(user_xy[:, 1], points[:50, 3])[0, 1]) > 0.95


@pytest.mark.parametrize("size", [1, 8])
def test_a_collapsed_space_can_be_drawn_and_a_sketch_is_read_as_it_was_written(size, tmp_path):
    same = np.ones((9, size), np.float32)
    drawn = sketch.draw_sketch(same, same, (same, same), np.full(9, 9), rng())
    assert np.allclose(drawn.user_xy + drawn.item_xy, 0)
    for shares in (drawn.target_cosines, drawn.other_cosines, drawn.user_cosines, drawn.item_cosines):
        assert shares[-1] == 1
    drawn.write(tmp_path)
    assert sketch.Sketch.read(tmp_path) == drawn


def test_samples_are_bounded_and_seeded():
    items = rng().normal(size=(1_000, 4)).astype(np.float32)
    first, again = (sketch.draw_sketch(items, items, (items, items), np.arange(1_000), rng()) for _ in range(2))
    assert first == again
    assert len(first.user_xy) == len(first.item_xy) == sketch.NUM_POINTS
