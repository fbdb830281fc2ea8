"""The device's code, run on the CPU, where torch gives it the same meaning. Legend as in the module."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from recsys.data.jagged import Jagged
from recsys.errors import InputError
from recsys.search import exact_device
from recsys.search.exact_device import DeviceCatalogue
from tests.pretend_device import PretendDevice
from tests.search_worlds import assert_same, brute_force, catalogue, tied_catalogue

CPU = torch.device("cpu")


def on_device(vectors_ND):
    return DeviceCatalogue(vectors_ND, float(np.linalg.norm(vectors_ND[1:].astype(float), axis=1).max()), CPU)


def some_seen(num_items, num_users, seed=0):
    rng = np.random.default_rng(seed)
    return Jagged.from_rows([rng.integers(0, num_items + 1, count) for count in rng.integers(0, 300, num_users)])


@pytest.fixture(scope="module")
def world_on_device(world):
    return on_device(world[0])


@pytest.mark.parametrize("k", [1, 10, 100, 2_000])
@pytest.mark.parametrize("share", [None, 0.5, 0.004])
def test_the_answers_are_those_of_the_cpu(world, indexes, world_on_device, k, share):
    users_BD = world[1]
    excluded = some_seen(6_000, len(users_BD))
    allowed = None if share is None else np.random.default_rng(1).random(6_001) < share
    expected = indexes["exact"].search(users_BD, k, excluded=excluded, allowed=allowed)
    assert_same(world_on_device.search(users_BD, k, excluded, allowed), expected)


@pytest.mark.parametrize(("name", "value"), [("BLOCK_ITEMS", 64), ("BLOCK_BYTES", 1 << 16), ("MAX_USERS", 3)])
def test_block_sizes_change_no_answer(world, indexes, world_on_device, monkeypatch, name, value):
    monkeypatch.setattr(exact_device, name, value)
    users_BD, excluded = world[1][:20], some_seen(6_000, 20)
    for k in (30, 1_600):  # of which the second looks at everything
        expected = indexes["exact"].search(users_BD, k, excluded=excluded)
        assert_same(world_on_device.search(users_BD, k, excluded, None), expected)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_request_gets_the_best_eligible_items(data):
    num_items = data.draw(st.sampled_from([1, 31, 32, 33, 400]), "items")
    vectors_ND, users_BD = catalogue(num_items, dim=data.draw(st.sampled_from([1, 2, 7, 8]), "dim"))
    users_BD = users_BD[: data.draw(st.integers(0, 6), "users")]
    k = data.draw(st.integers(1, 40) | st.integers(390, 410), "k")
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1), "seed"))
    counts = data.draw(st.lists(st.sampled_from([0, 5, 600]), min_size=6, max_size=6), "excluded draws")
    excluded = Jagged.from_rows([rng.integers(0, num_items + 1, count) for count in counts[: len(users_BD)]])
    share = data.draw(st.sampled_from([None, 0.0, 0.2, 0.9]), "allowed share")
    allowed = None if share is None else rng.random(num_items + 1) < share
    if len(users_BD):
        answers = on_device(vectors_ND).search(users_BD, k, excluded, allowed)
        assert_same(answers, brute_force(vectors_ND, users_BD, k, excluded, allowed))


@pytest.mark.parametrize("seed", [0, 45, 75])
def test_candidates_may_run_out_in_the_last_group(seed):
    vectors_ND, users_BD = catalogue(400, dim=2)
    rng = np.random.default_rng(seed)
    excluded = Jagged.from_rows([rng.integers(0, 401, count) for count in (5, 5, 5, 5, 5, 600)])
    allowed = rng.random(401) < 0.2
    answers = on_device(vectors_ND).search(users_BD[:6], 1, excluded, allowed)
    assert_same(answers, brute_force(vectors_ND, users_BD[:6], 1, excluded, allowed))


@pytest.mark.parametrize("k", [1, 7, 50])
def test_ties_come_in_position_order(k):
    vectors_ND, users_BD = tied_catalogue()
    assert_same(on_device(vectors_ND).search(users_BD, k, None, None), brute_force(vectors_ND, users_BD, k))


@pytest.mark.parametrize("closeness", [1.0, 1e-2, 1e-3, 1e-5, 1e-7])
def test_answers_are_exact_even_if_rounding_makes_items_equal(closeness):
    rng = np.random.default_rng(1)
    vectors_ND = (rng.standard_normal(16) + closeness * rng.standard_normal((5_001, 16))).astype(np.float32)
    users_BD = rng.standard_normal((9, 16)).astype(np.float32)
    assert_same(on_device(vectors_ND).search(users_BD, 10, None, None), brute_force(vectors_ND, users_BD, 10))


@pytest.mark.parametrize(
    ("item", "user"), [(1e-25, 1), (1, 1e-25), (1, 1e-38), (1e-20, 1e-25), (1e-44, 1), (1e17, 1e17), (1, 0), (0, 1)]
)
def test_answers_are_exact_at_any_scale(item, user):
    rng = np.random.default_rng(1)
    vectors_ND = ((rng.standard_normal(32) + 1e-2 * rng.standard_normal((2_001, 32))) * item).astype(np.float32)
    vectors_ND[0] = 1e30  # nobody's answer, whatever it is
    users_BD = (rng.standard_normal((4, 32)) * user).astype(np.float32)
    assert_same(on_device(vectors_ND).search(users_BD, 10, None, None), brute_force(vectors_ND, users_BD, 10))


@pytest.mark.parametrize("dim", [1, 7, 64, 1024])
def test_rounding_stays_within_the_error(dim):
    rng = np.random.default_rng(0)
    vectors_ND, users_BD = (rng.lognormal(0, 2, (count, dim)).astype(np.float32) for count in (320, 40))
    vectors_ND *= rng.choice([-1, 1], vectors_ND.shape)
    catalogue_on_device, scaled = on_device(vectors_ND), torch.from_numpy(users_BD).double()
    scaled /= torch.linalg.vector_norm(scaled, dim=1, keepdim=True)
    rounded_BD = scaled.half()
    error_B = catalogue_on_device._error(torch.ones(40).double(), torch.linalg.vector_norm(scaled - rounded_BD, dim=1))
    nobody = exact_device.Seen(torch.empty(0, dtype=torch.int64), torch.empty(0, dtype=torch.int64))
    positions_BC, scores_BC = catalogue_on_device._candidates(rounded_BD, nobody, catalogue_on_device._bars_N, 320)
    exact_BN = scaled @ torch.from_numpy(vectors_ND).double().T * catalogue_on_device._scale
    differences = (scores_BC - exact_BN.gather(1, positions_BC)).abs()[scores_BC > -torch.inf]
    assert len(differences) == 40 * 319
    assert (differences.view(40, -1) < error_B.unsqueeze(1)).all()
    assert (differences.view(40, -1) > error_B.unsqueeze(1) / (64 * dim**0.5)).any(), "too loose to be of use"


def test_a_user_gets_the_same_answer_alone_and_in_a_batch(world, world_on_device):
    users_BD, excluded = world[1], some_seen(6_000, len(world[1]))
    positions_BK, scores_BK = world_on_device.search(users_BD, 20, excluded, None)
    for row in range(0, len(users_BD), 20):
        alone = world_on_device.search(users_BD[row : row + 1], 20, excluded.take(np.array([row])), None)
        assert_same(alone, (positions_BK[row : row + 1], scores_BK[row : row + 1]))


def test_only_users_whose_candidates_are_too_few_are_searched_again(monkeypatch):
    """Half of the users have 300 items of one score, of which no 32 candidates can be the best for certain."""
    vectors_ND = np.random.default_rng(0).standard_normal((5_001, 8)).astype(np.float32)
    vectors_ND[1:, 0], vectors_ND[1:301] = 0, 0
    vectors_ND[1:301, 0] = 5
    users_BD = np.zeros((10, 8), np.float32)
    users_BD[::2, 0], users_BD[1::2, 1:] = 1, np.random.default_rng(1).standard_normal((5, 7))
    catalogue_on_device, searched = on_device(vectors_ND), []
    top = catalogue_on_device._top

    def noted(users, seen, *, fetch, **settings):
        searched.append((len(users), fetch))
        return top(users, seen, fetch=fetch, **settings)

    monkeypatch.setattr(catalogue_on_device, "_top", noted)
    assert_same(catalogue_on_device.search(users_BD, 10, None, None), brute_force(vectors_ND, users_BD, 10))
    assert searched == [(10, 32), (5, 64), (5, 128), (5, 256), (5, 512)]


def test_a_gpu_without_enough_memory_is_refused(world, monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (3 * 2**30, 2**40))
    message = (
        r"6,000 items of 16 numbers needs 3\.0 GiB of the GPU's memory, of which 3\.0 GiB are free; use the .* 'cpu'"
    )
    with pytest.raises(InputError, match=message):
        DeviceCatalogue(world[0], 1.0, torch.device("cuda"))


def test_threads_share_a_catalogue(world, indexes, world_on_device):
    expected = indexes["exact"].search(world[1], 20)
    with ThreadPoolExecutor(4) as pool:
        for answers in pool.map(lambda _: world_on_device.search(world[1], 20, None, None), range(12)):
            assert_same(answers, expected)


class Perfect:
    """An index on a GPU that proposes the best items, seen or not."""

    def __init__(self, index):
        self._index = index

    def search(self, users_BD, fetch, scores_BC, ids_BC):
        positions_BC, scores_BC[:] = self._index.search(users_BD, fetch)
        ids_BC[:] = positions_BC - 1


@pytest.mark.parametrize(
    ("k", "by_index", "waits"), [(10, False, 1), (2_000, False, 1), (10, True, 4)], ids=["exact", "everything", "index"]
)
def test_the_host_seldom_waits_and_starts_few_operations(world, indexes, k, by_index, waits):
    """An index is asked once for each number of candidates; whoever would need too many is searched for exactly."""
    users_BD = world[1][:40]
    excluded = Jagged.from_rows([np.arange(count) for count in [0, 40, 200, 1_900] * 10])
    expected = indexes["exact"].search(users_BD, k, excluded=excluded)
    with PretendDevice() as device:
        moved = DeviceCatalogue(world[0], 9.0 * 4, device.device)
        device.reset()
        index = Perfect(indexes["exact"]) if by_index else None
        assert_same(moved.search(users_BD, k, excluded, None, index), expected)
    assert device.waits.total() == waits, device.waits
    assert device.copies.total() <= 5 * (waits), device.copies
    assert device.operations.total() <= 90 * (waits), device.operations
