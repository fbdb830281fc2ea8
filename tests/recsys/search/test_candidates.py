import numpy as np
import pytest

from recsys.data.jagged import Jagged
from recsys.search.candidates import Eligibility, WholeCatalogue, sampled_floor

EXCLUDED = Jagged.from_rows([[2, 0, 2], [], [5, 1]])
ALLOWED = np.array([True, True, True, False, True, True])  # of row 0 and five items
POSITIONS = np.tile(np.arange(6), (3, 1))


def test_the_mask_joins_exclusions_the_allow_list_and_padding():
    mask = Eligibility(5, 3, EXCLUDED, ALLOWED).of(np.arange(3)).mask(POSITIONS)
    assert [np.flatnonzero(row).tolist() for row in mask] == [[1, 4, 5], [1, 2, 4, 5], [2, 4]]


def test_a_block_knows_its_own_users_only():
    block = Eligibility(5, 3, EXCLUDED, ALLOWED).of(np.array([2, 0]))
    assert [np.flatnonzero(row).tolist() for row in block.mask(POSITIONS[:2])] == [[2, 4], [1, 4, 5]]
    assert [row.tolist() for row in (block.excluded[0], block.excluded[1])] == [[5, 1], [2, 0, 2]]
    assert block.barred.tolist() == [0, 3]


def test_without_rules_everything_but_padding_is_eligible():
    eligible = Eligibility(5, 3, None, None)
    assert eligible.of(np.arange(3)).mask(POSITIONS).tolist() == [[False] + [True] * 5] * 3
    assert eligible.num_excluded.tolist() == [0, 0, 0]


def test_distinct_exclusions_are_counted():
    assert Eligibility(5, 3, EXCLUDED, None).num_excluded.tolist() == [1, 0, 2]


def test_the_whole_catalogue_proposes_every_eligible_item():
    users = np.zeros((3, 2), np.float32)
    candidates = WholeCatalogue().candidates(users, 5, Eligibility(5, 3, EXCLUDED, ALLOWED).of(np.arange(3)))
    assert [row[row > 0].tolist() for row in candidates.positions] == [[1, 4, 5], [1, 2, 4, 5], [2, 4]]
    assert candidates.scores is None
    assert (candidates.floor == -np.inf).all()


@pytest.mark.parametrize("fetch", [50, 500])
def test_more_items_than_wanted_reach_the_sampled_floor(fetch):
    rng = np.random.default_rng(0)
    scores = rng.standard_normal((200, 20_000))
    floor = sampled_floor(scores[:, ::5].copy(), 5, fetch)
    counts = (scores >= floor[:, None]).sum(axis=1)
    assert (counts > fetch).mean() > 0.98
    assert counts.mean() < 3 * fetch
