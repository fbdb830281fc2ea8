import numpy as np
import pytest
import torch

from recsys.data.jagged import Jagged
from recsys.search import candidates as candidates_module, exact_batch
from recsys.search.candidates import Eligibility
from recsys.search.exact_batch import TiledCatalogue
from recsys.search.index import ItemIndex
from recsys.search.rounding import largest_factor

WHOLE = pytest.mark.skipif(largest_factor(dim=1) < 127, reason="this CPU does not multiply bytes")


@pytest.fixture(
    params=[
        (torch.float32, 0),
        (torch.bfloat16, 0),
        pytest.param((torch.int8, 127), marks=WHOLE),
        pytest.param((torch.int8, 64), marks=WHOLE),
    ],
    ids=["float32", "bfloat16", "bytes", "AVX2 bytes"],
    autouse=True,
)
def dtype(request, monkeypatch):
    """What vectors are rounded to."""
    rounded, factor = request.param
    monkeypatch.setattr(exact_batch, "dtype_for_many", lambda dim: rounded)
    monkeypatch.setattr(exact_batch, "largest_factor", lambda dim: factor)
    return rounded


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(exact_batch, "TILE_BYTES", 1024)
    monkeypatch.setattr(candidates_module, "SAMPLE_ITEMS", 20)


@pytest.fixture
def patient(monkeypatch):
    monkeypatch.setattr(exact_batch, "MOST", 100)


def whole_numbers(num_items, num_users=12, dim=3, low=-4):
    """Catalogue and users whose scores are exact in floats of either width, with ties."""
    rng = np.random.default_rng(num_items)
    vectors = rng.integers(low, 5, (num_items + 1, dim)).astype(np.float32)
    vectors[0] = 0
    return vectors, rng.integers(-4, 5, (num_users, dim)).astype(np.float32), rng


def tiled(vectors):
    return TiledCatalogue(vectors, float(np.linalg.norm(vectors, axis=1).max()))


def eligible(vectors, users, excluded=None, allowed=None):
    return Eligibility(len(vectors) - 1, len(users), excluded, allowed).of(np.arange(len(users)))


@pytest.mark.usefixtures("small", "patient")
@pytest.mark.parametrize(("num_items", "fetch"), [(1, 1), (3, 2), (64, 5), (67, 1), (67, 30), (67, 67), (2_500, 100)])
def test_the_candidates_are_the_eligible_items_above_the_floor(num_items, fetch, dtype):
    vectors, users, rng = whole_numbers(num_items)
    excluded = Jagged.from_rows([rng.integers(0, num_items + 1, row) for row in range(12)])
    allowed = np.ones(num_items + 1, bool)
    allowed[rng.integers(0, num_items + 1, num_items // 4)] = False
    candidates = tiled(vectors).candidates(users, fetch, eligible(vectors, users, excluded, allowed))
    arrays = candidates.positions, candidates.scores, candidates.floor, candidates.error
    assert [array.dtype for array in arrays] == [np.int64, np.float32, np.float32, np.float64]
    scores = users @ vectors.T
    scores[:, ~allowed] = scores[:, 0] = -np.inf
    scores[excluded.row_of_value, excluded.values] = -np.inf
    for user in range(12):
        is_item = candidates.positions[user] > 0
        positions = candidates.positions[user][is_item]
        floor, off = candidates.floor[user], candidates.error[user] if dtype == torch.int8 else 0
        certain, possible = (np.flatnonzero(scores[user] > floor + sign * off) for sign in (1, -1))
        assert set(certain) <= set(positions) <= set(possible)
        assert len(set(positions)) == len(positions)
        assert (np.abs(candidates.scores[user][is_item] - scores[user][positions]) <= off).all()
        assert (candidates.scores[user][~is_item] == -np.inf).all()


@pytest.mark.usefixtures("small", "patient")
def test_scores_below_zero_are_ordered_too(dtype):
    vectors, users, _ = whole_numbers(500)
    vectors, users = np.abs(vectors) + 1, -np.abs(users) - 1
    candidates = tiled(vectors).candidates(users, 20, eligible(vectors, users))
    assert (candidates.floor < 0).all()
    user, column = np.nonzero(candidates.positions)
    assert (np.bincount(user) < 400).all()
    scores = (users @ vectors.T)[user, candidates.positions[user, column]]
    off = candidates.error[user] if dtype == torch.int8 else 0
    assert (np.abs(candidates.scores[user, column] - scores) <= off).all()


def test_the_sampled_floor_lets_enough_candidates_through():
    rng = np.random.default_rng(0)
    vectors, users = (rng.standard_normal((count, 8)).astype(np.float32) for count in (50_001, 300))
    best = np.argsort(-(users @ vectors.T), axis=1)[:, :100]  # excluded, as a user has seen what fits best
    candidates = tiled(vectors).candidates(users, 128, eligible(vectors, users, Jagged.from_rows(list(best))))
    counts = (candidates.positions > 0).sum(axis=1)
    assert (counts >= 128).mean() > 0.98
    assert counts.mean() < 360


@pytest.mark.usefixtures("small")
def test_a_misleading_sample_gives_no_candidates_rather_than_too_many(monkeypatch):
    monkeypatch.setattr(exact_batch, "MOST", 3)
    vectors = np.full((400, 1), 2, np.float32)
    vectors[::20] = 1  # the sampled ones; all others exceed them
    users, catalogue = np.ones((5, 1), np.float32), tiled(vectors)
    candidates = catalogue.candidates(users, 4, eligible(vectors, users))
    assert candidates.positions.shape == candidates.scores.shape == (5, 0)
    np.testing.assert_allclose(candidates.floor, 1, rtol=0.02)
    users[1:] = 0  # these have no candidates, and the first user alone has too many
    candidates = catalogue.candidates(users, 40, eligible(vectors, users))
    assert candidates.positions.shape == candidates.scores.shape == (5, 0)


def test_rounding_stays_within_the_error(dtype):
    rng = np.random.default_rng(0)
    for dim in (1, 7, 64, 1024):
        vectors, users = (rng.lognormal(0, 2, (count, dim)).astype(np.float32) for count in (301, 40))
        vectors *= rng.choice([-1, 1], vectors.shape)
        candidates = tiled(vectors).candidates(users, 300, eligible(vectors, users))
        user, column = np.nonzero(candidates.positions)
        items = vectors[candidates.positions[user, column]]
        exact = np.vecdot(users[user].astype(float), items.astype(float))
        differences, errors = np.abs(candidates.scores[user, column] - exact), candidates.error[user]
        assert (differences < errors).all()
        assert dtype == torch.float32 or (differences > errors / (5 * dim**0.5)).any(), "too loose to be of use"


@pytest.mark.parametrize("closeness", [1.0, 1e-2, 1e-3, 1e-5])
def test_answers_are_exact_even_if_rounding_makes_items_equal(closeness):
    rng = np.random.default_rng(1)
    vectors = rng.standard_normal(16) + closeness * rng.standard_normal((20_001, 16))
    vectors, users = vectors.astype(np.float32), rng.standard_normal((9, 16)).astype(np.float32)
    positions, scores = ItemIndex.build(vectors, kind="exact").search(users, 10)
    exact = np.vecdot(users[:, None].astype(float), vectors[1:].astype(float)).astype(np.float32)
    order = np.argsort(-exact, axis=1, kind="stable")[:, :10]
    np.testing.assert_array_equal(positions, order + 1)
    np.testing.assert_array_equal(scores, np.take_along_axis(exact, order, axis=1))
