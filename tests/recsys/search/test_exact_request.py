from functools import partial
from threading import Barrier, Thread

import numpy as np
import pytest
import torch

from recsys.data.jagged import Jagged
from recsys.search import candidates as candidates_module
from recsys.search.candidates import Eligibility
from recsys.search.exact_request import QuantizedCatalogue
from recsys.search.index import ItemIndex
from recsys.search.threads import run_parallel

pytestmark = pytest.mark.skipif(not QuantizedCatalogue.pays(dim=1), reason="this CPU does not multiply bytes")


def normal(num_items, dim=16, num_users=2):
    rng = np.random.default_rng(0)
    return (rng.standard_normal((count, dim)).astype(np.float32) for count in (num_items + 1, num_users))


def exact_scores(users, vectors):
    return np.vecdot(users[:, None].astype(float), vectors.astype(float)).astype(np.float32)


def eligible(vectors, users, excluded=None, allowed=None):
    return Eligibility(len(vectors) - 1, len(users), excluded, allowed).of(np.arange(len(users)))


def assert_exact(vectors, users, k=10):
    positions, scores = ItemIndex.build(vectors, kind="exact").search(users, k)
    exact = exact_scores(users, vectors[1:])
    order = np.argsort(-exact, axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(positions, order + 1)
    np.testing.assert_array_equal(scores, np.take_along_axis(exact, order, axis=1))


def test_the_candidates_hold_the_top_and_nothing_ineligible():
    vectors, users = normal(2_000)
    rng = np.random.default_rng(1)
    exact = exact_scores(users, vectors)
    excluded = Jagged.from_rows([rng.integers(0, 2_001, 500), np.argsort(-exact[1])[:40]])
    allowed = np.ones(2_001, bool)
    allowed[rng.integers(0, 2_001, 300)] = False
    candidates = QuantizedCatalogue(vectors).candidates(users, 50, eligible(vectors, users, excluded, allowed))
    arrays = candidates.positions, candidates.scores, candidates.floor, candidates.error
    assert [array.dtype for array in arrays] == [np.int64, np.float32, np.float32, np.float64]
    assert (candidates.error == 0).all()
    exact[:, ~allowed] = exact[:, 0] = -np.inf
    exact[excluded.row_of_value, excluded.values] = -np.inf
    for user in range(2):
        is_item, floor = candidates.positions[user] > 0, candidates.floor[user]
        positions = candidates.positions[user][is_item]
        assert set(np.argsort(-exact[user])[:50]) <= set(positions.tolist())
        assert len(set(positions.tolist())) == len(positions) < 150
        assert np.isfinite(exact[user][positions]).all()
        assert (candidates.scores[user][is_item] >= exact[user][positions]).all()
        assert (candidates.scores[user][~is_item] == -np.inf).all()
        left_out = np.setdiff1d(np.flatnonzero(np.isfinite(exact[user])), positions)
        assert (exact[user][left_out] <= floor).all()
        assert np.sort(exact[user][positions])[-50] > floor, "the answers would not be settled"


def test_bounds_hold_and_are_tight():
    rng = np.random.default_rng(0)
    for dim in (1, 7, 64, 1024):
        vectors, users = (rng.lognormal(0, 2, (count, dim)).astype(np.float32) for count in (301, 40))
        vectors *= rng.choice([-1, 1], vectors.shape)
        vectors[3], vectors[4], users[5] = 0, 1e-44, 0
        candidates = QuantizedCatalogue(vectors).candidates(users, 301, eligible(vectors, users))
        items = vectors[candidates.positions]
        assert (np.sort(candidates.positions, axis=1) == np.arange(1, 301)).all()
        exact = np.vecdot(users[:, None].astype(float), items.astype(float))
        assert (candidates.scores >= exact).all()
        lengths = np.linalg.norm(users, axis=1)[:, None] * np.linalg.norm(items, axis=2)
        assert (candidates.scores - exact <= 2 * (dim**0.5 / 127 + 2e-5) * lengths + 1e-34).all(), "a loose bound"


def test_a_misleading_sample_costs_no_answer(monkeypatch):
    monkeypatch.setattr(candidates_module, "SAMPLE_ITEMS", 20)
    vectors, users = normal(400)
    vectors[::20] *= 9  # the sampled ones
    candidates = QuantizedCatalogue(vectors).candidates(users, 40, eligible(vectors, users))
    best = np.argsort(-exact_scores(users, vectors[1:]), axis=1)[:, :40] + 1
    assert all(set(best[user]) <= set(candidates.positions[user]) for user in range(2))


@pytest.mark.parametrize("closeness", [1.0, 1e-1, 1e-2, 1e-4])
def test_answers_are_exact_even_if_rounding_makes_items_equal(closeness):
    rng = np.random.default_rng(1)
    vectors = rng.standard_normal(16) + closeness * rng.standard_normal((20_001, 16))
    assert_exact(vectors.astype(np.float32), rng.standard_normal((3, 16)).astype(np.float32))


def test_a_long_item_adds_no_other_candidates():
    vectors, users = normal(20_000)
    vectors[77] *= 100
    candidates = QuantizedCatalogue(vectors).candidates(users, 100, eligible(vectors, users))
    assert candidates.positions.shape[1] < 300
    assert_exact(vectors, users)


def test_the_first_requests_do_not_wait_for_each_other():
    vectors, users = normal(40_000, num_users=1)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        for _ in range(5):
            index, together, answers = ItemIndex.build(vectors, kind="exact"), Barrier(6), []

            def ask(through_workers, index=index, together=together, answers=answers):
                together.wait()
                search = partial(index.search, users, 10)
                answers.append(run_parallel([search])[0] if through_workers else search())

            callers = [Thread(target=ask, args=(number % 2,), daemon=True) for number in range(6)]
            for caller in callers:
                caller.start()
            for caller in callers:
                caller.join(timeout=60)
            assert len(answers) == 6
            assert all((positions == answers[0][0]).all() for positions, _ in answers)
    finally:
        torch.set_num_threads(threads)


def test_a_request_computes_on_one_thread(monkeypatch):
    vectors, users = normal(5_000, num_users=1)
    counts, product = [], torch._int_mm
    monkeypatch.setattr(torch, "_int_mm", lambda *pair: counts.append(torch.get_num_threads()) or product(*pair))
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        ItemIndex.build(vectors, kind="exact").search(users, 10)
    finally:
        torch.set_num_threads(threads)
    assert counts == [1]
