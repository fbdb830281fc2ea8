import numpy as np
import pytest

from recsys.data.jagged import Jagged
from recsys.search import exact_batch
from recsys.search.exact_batch import Tiles
from recsys.search.index import ItemIndex

NOBODY = np.zeros(1, np.int64)


@pytest.fixture(params=[False, True], ids=["float32", "bfloat16"], autouse=True)
def bfloat16(request, monkeypatch):
    monkeypatch.setattr(exact_batch, "multiplies", lambda unit: request.param)
    return request.param


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(exact_batch, "TILE_BYTES", 1024)
    monkeypatch.setattr(exact_batch, "SAMPLE_ITEMS", 20)


@pytest.fixture
def patient(monkeypatch):
    monkeypatch.setattr(exact_batch, "MOST", 100)


def whole_numbers(num_items, num_users=12, dim=3, low=-4):
    """Catalogue and users whose scores are exact in either precision, with ties."""
    rng = np.random.default_rng(num_items)
    vectors = rng.integers(low, 5, (num_items + 1, dim)).astype(np.float32)
    vectors[0] = 0
    return vectors, rng.integers(-4, 5, (num_users, dim)).astype(np.float32), rng


def tiles_of(vectors):
    return Tiles(vectors, float(np.linalg.norm(vectors, axis=1).max()))


def nothing(num_users):
    return Jagged.from_rows([[]] * num_users)


@pytest.mark.usefixtures("small", "patient")
@pytest.mark.parametrize(("num_items", "fetch"), [(1, 1), (3, 2), (64, 5), (67, 1), (67, 30), (67, 67), (2_500, 100)])
def test_all_eligible_that_exceed_the_floor_are_found_and_nothing_else(num_items, fetch):
    vectors, users, rng = whole_numbers(num_items)
    excluded = Jagged.from_rows([rng.integers(0, num_items + 1, row) for row in range(12)])
    barred = np.unique(np.append(rng.integers(0, num_items + 1, num_items // 4), 0))
    positions, scores, floor, error = tiles_of(vectors).exceeding(users, fetch, excluded=excluded, barred=barred)
    assert [each.dtype for each in (positions, scores, floor, error)] == [np.int64, np.float32, np.float32, np.float64]
    every = users @ vectors.T
    every[:, barred] = -np.inf
    every[excluded.row_of_value, excluded.values] = -np.inf
    for user in range(12):
        known = positions[user] > 0
        assert sorted(positions[user][known]) == np.flatnonzero(every[user] > floor[user]).tolist()
        np.testing.assert_array_equal(scores[user][known], every[user][positions[user][known]])
        assert (scores[user][~known] == -np.inf).all()


@pytest.mark.usefixtures("small", "patient")
def test_scores_below_zero_have_an_order_too():
    vectors, users, _ = whole_numbers(500)
    vectors, users = np.abs(vectors) + 1, -np.abs(users) - 1
    positions, scores, floor, _ = tiles_of(vectors).exceeding(users, 20, excluded=nothing(12), barred=NOBODY)
    assert (floor < 0).all()
    found = positions > 0
    assert (found.sum(axis=1) < 400).all()
    np.testing.assert_array_equal(scores[found], (users @ vectors.T)[np.nonzero(found)[0], positions[found]])


def test_a_sample_finds_the_score_that_enough_exceed():
    rng = np.random.default_rng(0)
    vectors, users = (rng.standard_normal((count, 8)).astype(np.float32) for count in (50_001, 300))
    best = np.argsort(-(users @ vectors.T), axis=1)[:, :100]  # what a user has seen is what fits best
    seen = Jagged.from_rows(list(best))
    positions, *_ = tiles_of(vectors).exceeding(users, 128, excluded=seen, barred=NOBODY)
    counts = (positions > 0).sum(axis=1)
    assert (counts >= 128).mean() > 0.98
    assert counts.mean() < 360


@pytest.mark.usefixtures("small")
def test_a_sample_that_misleads_bounds_what_is_held(monkeypatch):
    monkeypatch.setattr(exact_batch, "MOST", 3)
    vectors = np.full((400, 1), 2, np.float32)
    vectors[::20] = 1  # all that is sampled; the rest exceed it
    users, tiles = np.ones((5, 1), np.float32), tiles_of(vectors)
    positions, scores, floor, _ = tiles.exceeding(users, 4, excluded=nothing(5), barred=NOBODY)
    assert positions.shape == scores.shape == (5, 0)
    assert (floor == 1).all()
    users[1:] = 0  # they find nothing, and the first alone is too many
    positions, scores, *_ = tiles.exceeding(users, 40, excluded=nothing(5), barred=NOBODY)
    assert positions.shape == scores.shape == (5, 0)


def test_rounding_stays_within_the_error(bfloat16):
    rng = np.random.default_rng(0)
    for dim in (1, 7, 64, 1024):
        vectors, users = (rng.lognormal(0, 2, (count, dim)).astype(np.float32) for count in (301, 40))
        vectors *= rng.choice([-1, 1], vectors.shape)
        positions, scores, _, error = tiles_of(vectors).exceeding(users, 300, excluded=nothing(40), barred=NOBODY)
        user, place = np.nonzero(positions)
        exact = np.vecdot(users[user].astype(float), vectors[positions[user, place]].astype(float))
        off, errors = np.abs(scores[user, place] - exact), error[user]
        assert (off < errors).all()
        assert not bfloat16 or (off > errors / (4 * dim**0.5)).any(), "a bound that loose is none"


@pytest.mark.parametrize("closeness", [1.0, 1e-2, 1e-3, 1e-5])
def test_answers_are_exact_where_rounding_cannot_tell_items_apart(closeness):
    rng = np.random.default_rng(1)
    vectors = rng.standard_normal(16) + closeness * rng.standard_normal((20_001, 16))
    vectors, users = vectors.astype(np.float32), rng.standard_normal((9, 16)).astype(np.float32)
    positions, scores = ItemIndex.build(vectors, kind="exact").search(users, 10)
    exact = np.vecdot(users[:, None].astype(float), vectors[1:].astype(float)).astype(np.float32)
    order = np.argsort(-exact, axis=1, kind="stable")[:, :10]
    np.testing.assert_array_equal(positions, order + 1)
    np.testing.assert_array_equal(scores, np.take_along_axis(exact, order, axis=1))
