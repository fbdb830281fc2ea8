"""An index with newer rows beside it answers as an index of all rows. Legend as in recsys/search/index.py."""

import numpy as np
import pytest

from recsys.data.jagged import Jagged
from recsys.search import FreshIndex, whole
from recsys.search.index_kinds import KINDS
from tests.search_worlds import assert_same, brute_force

NUM_NEW = 40


@pytest.fixture(scope="module")
def changed(world):
    """The vectors after a change, and where they differ: some were replaced, some are new, some are equal to others."""
    vectors_ND, _ = world
    rng = np.random.default_rng(3)
    positions = np.sort(rng.choice(np.arange(1, len(vectors_ND)), 60, replace=False))
    newer_ND = np.concatenate((vectors_ND, rng.choice(vectors_ND[1:], NUM_NEW)))
    newer_ND[positions] = rng.choice(vectors_ND[1:], 60) * np.float32(1.05)
    return newer_ND, np.concatenate((positions, np.arange(len(vectors_ND), len(newer_ND))))


@pytest.fixture(scope="module")
def request_of(changed):
    """A request that leaves out old and new items."""
    newer_ND, positions = changed
    rng = np.random.default_rng(4)
    excluded = Jagged.from_rows([np.concatenate((rng.choice(positions, 5), rng.integers(0, 6_000, 9)))] * 8)
    return {"excluded": excluded, "allowed": rng.random(len(newer_ND)) < 0.6}


@pytest.mark.parametrize("kind", ["exact", "bytes"])
@pytest.mark.parametrize("k", [10, 7_000])
def test_exact_kinds_equal_brute_force(world, indexes, changed, request_of, kind, k):
    fresh = FreshIndex.after(indexes[kind], *changed)
    users_BD = world[1][:8]
    assert_same(fresh.search(users_BD, k), brute_force(changed[0], users_BD, k))
    expected = brute_force(changed[0], users_BD, k, request_of["excluded"], request_of["allowed"])
    assert_same(fresh.search(users_BD, k, **request_of), expected)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("exact", "bytes")])
def test_approximate_kinds_miss_no_newer_row_and_return_no_older_one(world, indexes, changed, request_of, kind):
    newer_ND, positions = changed
    fresh = FreshIndex.after(indexes[kind], *changed)
    users_BD = world[1][:8]
    found, scores = fresh.search(users_BD, 50, **request_of)
    exact, _ = brute_force(newer_ND, users_BD, 50, request_of["excluded"], request_of["allowed"])
    np.testing.assert_array_equal(
        scores, np.einsum("bkd,bd->bk", newer_ND[found], users_BD, dtype=np.float64).astype("f4")
    )
    assert (np.diff(scores, axis=1) <= 0).all()
    for mine, best in zip(found, exact, strict=True):
        assert set(best) & set(positions) <= set(mine)
        assert len(set(mine)) == 50
    everything, _ = fresh.search(users_BD[:1], 7_000)
    assert np.count_nonzero(everything) == len(newer_ND) - 1


def test_a_second_change_adds_to_the_first(world, indexes, changed):
    vectors_ND, users_BD = world
    once = FreshIndex.after(indexes["exact"], *changed)
    newest_ND = np.concatenate((changed[0], vectors_ND[3:4] * 2))
    newest_ND[changed[1][0]] *= -1
    newest_ND[5] *= 3
    twice = FreshIndex.after(once, newest_ND, np.array([5, changed[1][0], len(newest_ND) - 1]))
    assert len(twice.positions) == len(np.union1d(once.positions, [5, len(newest_ND) - 1]))
    assert_same(twice.search(users_BD[:8], 20), brute_force(newest_ND, users_BD[:8], 20))
    assert_same(once.search(users_BD[:8], 20), brute_force(changed[0], users_BD[:8], 20))
    folded = twice.onto(whole(once))
    assert folded.positions.tolist() == sorted({5, int(changed[1][0]), len(newest_ND) - 1})
    assert_same(folded.search(users_BD[:8], 20), brute_force(newest_ND, users_BD[:8], 20))
    assert not twice.onto(whole(twice)).positions.size


def test_it_is_large_when_a_rebuild_is_worth_it(indexes, world):
    vectors_ND, _ = world
    assert [FreshIndex.after(indexes["ivf"], vectors_ND, np.arange(1, 1 + n)).is_large for n in (120, 121)] == [
        False,
        True,
    ]
    assert whole(indexes["ivf"]) is indexes["ivf"]
    assert whole(FreshIndex.after(indexes["ivf"], vectors_ND, np.arange(1, 9))).spec.kind == "ivf"


def test_a_request_of_another_size_is_refused(indexes, changed, world):
    fresh = FreshIndex.after(indexes["exact"], *changed)
    with pytest.raises(ValueError, match="allowed is bool"):
        fresh.search(world[1][:1], 5, allowed=np.ones(6_001, bool))
