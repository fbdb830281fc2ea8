import numpy as np
import pytest

from recsys import scan
from recsys.history import Jagged
from recsys.index import ItemIndex
from recsys.scan import Scan

pytestmark = pytest.mark.skipif(not Scan.pays(), reason="this CPU does not multiply bytes")
NOBODY = np.zeros(1, np.int64)
NOTHING = Jagged.from_rows([[], []])


def scan_of(vectors):
    return Scan(vectors, float(np.linalg.norm(vectors, axis=1).max()))


def normal(num_items, dim=16, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((count, dim)).astype(np.float32) for count in (num_items + 1, 2))


def exact_scores(users, vectors):
    return np.vecdot(users[:, None].astype(float), vectors.astype(float)).astype(np.float32)


def test_what_the_best_need_is_found_and_nothing_that_must_not_be():
    vectors, users = normal(2_000)
    rng = np.random.default_rng(1)
    exact = exact_scores(users, vectors)
    excluded = Jagged.from_rows([rng.integers(0, 2_001, 500), np.argsort(-exact[1])[:40]])
    barred = np.unique(np.append(rng.integers(0, 2_001, 300), 0))
    positions, scores, floor, error = scan_of(vectors).exceeding(users, 50, excluded=excluded, barred=barred)
    exact[:, barred] = -np.inf
    exact[excluded.row_of_value, excluded.values] = -np.inf
    for user in range(2):
        known = positions[user] > 0
        found = positions[user][known]
        assert set(np.argsort(-exact[user])[:50]) <= set(found.tolist())
        assert len(set(found.tolist())) == len(found) < 200
        assert np.isfinite(exact[user][found]).all()
        assert (np.abs(scores[user][known] - exact[user][found]) <= error[user]).all()
        assert (scores[user][known] > floor[user]).all()
        assert (scores[user][~known] == -np.inf).all()
        left_out = np.setdiff1d(np.flatnonzero(np.isfinite(exact[user])), found)
        assert (exact[user][left_out] <= floor[user] + error[user]).all()
        assert np.sort(exact[user][found])[-50] > floor[user] + error[user], "or it would be asked again for nothing"


def test_rounding_stays_within_the_error():
    rng = np.random.default_rng(0)
    for dim in (1, 7, 64, 1024):
        vectors, users = (rng.lognormal(0, 2, (count, dim)).astype(np.float32) for count in (301, 40))
        vectors *= rng.choice([-1, 1], vectors.shape)
        vectors[3], vectors[4], users[5] = 0, 1e-44, 0
        nothing = Jagged.from_rows([[]] * 40)
        positions, scores, _, error = scan_of(vectors).exceeding(users, 300, excluded=nothing, barred=NOBODY)
        user, place = np.nonzero(positions)
        exact = np.vecdot(users[user].astype(float), vectors[positions[user, place]].astype(float))
        off = np.abs(scores[user, place] - exact)
        assert (off <= error[user]).all()
        assert dim == 1 or (off > error[user] / (8 * dim**0.5)).any(), "a bound that loose is none"


def test_a_sample_that_misleads_bounds_what_is_held(monkeypatch):
    monkeypatch.setattr(scan, "SAMPLE_ITEMS", 20)
    monkeypatch.setattr(scan, "MOST", 3)
    vectors = np.full((400, 1), 2, np.float32)
    vectors[::20] = 1  # all that is sampled; the rest exceed it
    users = np.ones((2, 1), np.float32)
    positions, scores, *_ = scan_of(vectors).exceeding(users, 4, excluded=NOTHING, barred=NOBODY)
    assert positions.shape == scores.shape == (2, 0)
    users[1] = 0  # for whom nothing exceeds the sample
    positions, scores, *_ = scan_of(vectors).exceeding(users, 200, excluded=NOTHING, barred=NOBODY)
    assert (positions > 0).sum(axis=1).tolist() == [380, 0]
    assert (scores[1] == -np.inf).all()


@pytest.mark.parametrize("closeness", [1.0, 1e-1, 1e-2, 1e-4])
def test_answers_are_exact_where_rounding_cannot_tell_items_apart(closeness):
    rng = np.random.default_rng(1)
    vectors = rng.standard_normal(16) + closeness * rng.standard_normal((20_001, 16))
    vectors, users = vectors.astype(np.float32), rng.standard_normal((3, 16)).astype(np.float32)
    positions, scores = ItemIndex.build(vectors, kind="exact").search(users, 10)
    exact = exact_scores(users, vectors[1:])
    order = np.argsort(-exact, axis=1, kind="stable")[:, :10]
    np.testing.assert_array_equal(positions, order + 1)
    np.testing.assert_array_equal(scores, np.take_along_axis(exact, order, axis=1))
