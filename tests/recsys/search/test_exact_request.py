from functools import partial
from threading import Barrier, Thread

import numpy as np
import pytest
import torch

from recsys.data.jagged import Jagged
from recsys.search import exact_request
from recsys.search.exact_request import Scan
from recsys.search.index import ItemIndex
from recsys.search.threads import spread

pytestmark = pytest.mark.skipif(not Scan.pays(dim=1), reason="this CPU does not multiply bytes")
NOBODY = np.zeros(1, np.int64)


def normal(num_items, dim=16, num_users=2):
    rng = np.random.default_rng(0)
    return (rng.standard_normal((count, dim)).astype(np.float32) for count in (num_items + 1, num_users))


def exact_scores(users, vectors):
    return np.vecdot(users[:, None].astype(float), vectors.astype(float)).astype(np.float32)


def assert_exact(vectors, users, k=10):
    positions, scores = ItemIndex.build(vectors, kind="exact").search(users, k)
    exact = exact_scores(users, vectors[1:])
    order = np.argsort(-exact, axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(positions, order + 1)
    np.testing.assert_array_equal(scores, np.take_along_axis(exact, order, axis=1))


def test_what_may_be_of_the_best_is_found_and_nothing_that_must_not_be():
    vectors, users = normal(2_000)
    rng = np.random.default_rng(1)
    exact = exact_scores(users, vectors)
    excluded = Jagged.from_rows([rng.integers(0, 2_001, 500), np.argsort(-exact[1])[:40]])
    barred = np.unique(np.append(rng.integers(0, 2_001, 300), 0))
    positions, most, floor, error = Scan(vectors).exceeding(users, 50, excluded=excluded, barred=barred)
    assert [each.dtype for each in (positions, most, floor, error)] == [np.int64, np.float32, np.float32, np.float64]
    assert (error == 0).all()
    exact[:, barred] = -np.inf
    exact[excluded.row_of_value, excluded.values] = -np.inf
    for user in range(2):
        known = positions[user] > 0
        found = positions[user][known]
        assert set(np.argsort(-exact[user])[:50]) <= set(found.tolist())
        assert len(set(found.tolist())) == len(found) < 150
        assert np.isfinite(exact[user][found]).all()
        assert (most[user][known] >= exact[user][found]).all()
        assert (most[user][~known] == -np.inf).all()
        left_out = np.setdiff1d(np.flatnonzero(np.isfinite(exact[user])), found)
        assert (exact[user][left_out] <= floor[user]).all()
        assert np.sort(exact[user][found])[-50] > floor[user], "or it would be asked again for nothing"


def test_bounds_hold_and_are_tight():
    rng = np.random.default_rng(0)
    for dim in (1, 7, 64, 1024):
        vectors, users = (rng.lognormal(0, 2, (count, dim)).astype(np.float32) for count in (301, 40))
        vectors *= rng.choice([-1, 1], vectors.shape)
        vectors[3], vectors[4], users[5] = 0, 1e-44, 0
        nothing = Jagged.from_rows([[]] * 40)
        positions, most, *_ = Scan(vectors).exceeding(users, 301, excluded=nothing, barred=NOBODY)
        assert (np.sort(positions, axis=1) == np.arange(1, 301)).all()
        exact = np.vecdot(users[:, None].astype(float), vectors[positions].astype(float))
        assert (most >= exact).all()
        norms = np.linalg.norm(users, axis=1)[:, None] * np.linalg.norm(vectors[positions], axis=2)
        assert (most - exact <= 2 * (dim**0.5 / 127 + 2e-5) * norms + 1e-34).all(), "a bound that loose is none"


def test_a_sample_that_misleads_costs_no_answer(monkeypatch):
    monkeypatch.setattr(exact_request, "SAMPLE_ITEMS", 20)
    vectors, users = normal(400)
    vectors[::20] *= 9  # all that is sampled
    positions, *_ = Scan(vectors).exceeding(users, 40, excluded=Jagged.from_rows([[], []]), barred=NOBODY)
    best = np.argsort(-exact_scores(users, vectors[1:]), axis=1)[:, :40] + 1
    assert all(set(best[user]) <= set(positions[user]) for user in range(2))


@pytest.mark.parametrize("closeness", [1.0, 1e-1, 1e-2, 1e-4])
def test_answers_are_exact_where_rounding_cannot_tell_items_apart(closeness):
    rng = np.random.default_rng(1)
    vectors = rng.standard_normal(16) + closeness * rng.standard_normal((20_001, 16))
    assert_exact(vectors.astype(np.float32), rng.standard_normal((3, 16)).astype(np.float32))


def test_a_long_item_costs_only_itself():
    vectors, users = normal(20_000)
    vectors[77] *= 100
    positions, *_ = Scan(vectors).exceeding(users, 100, excluded=Jagged.from_rows([[], []]), barred=NOBODY)
    assert positions.shape[1] < 300
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
                answers.append(spread([search])[0] if through_workers else search())

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
