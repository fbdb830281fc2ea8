import threading

import pytest
import torch

from recsys.search.threads import SMALL_BATCH, for_users, spread


@pytest.fixture(autouse=True)
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_calls_run_at_once_each_on_one_thread_of_torch():
    together = threading.Barrier(2, timeout=10)  # broken unless two are there at once

    def call(number):
        together.wait()
        return number, torch.get_num_threads()

    assert spread([lambda: call(1), lambda: call(2)]) == [(1, 1), (2, 1)]
    assert torch.get_num_threads() == 2
    seen = []
    thread = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert seen == [2]  # a new thread starts with what it would have had


def test_no_thread_is_left_with_fewer():
    """Not even one that torch meets while others work."""
    met = []

    def meet():
        thread = threading.Thread(target=lambda: met.append(torch.get_num_threads()))
        thread.start()
        thread.join()

    spread([meet] * 20)
    assert met == [2] * 20


def test_an_error_comes_through():
    assert spread([]) == []
    with pytest.raises(ZeroDivisionError):
        spread([lambda: 1 / 0, lambda: 2])
    assert torch.get_num_threads() == 2


def test_one_thread_does_it_all_itself():
    torch.set_num_threads(1)
    assert spread([threading.get_ident] * 2) == [threading.get_ident()] * 2


def test_workers_may_spread_too():
    assert spread([lambda: spread([torch.get_num_threads] * 3)] * 4) == [[1] * 3] * 4


def test_a_few_users_have_one_thread_and_many_have_all():
    assert [for_users(count, torch.get_num_threads) for count in (1, SMALL_BATCH - 1, SMALL_BATCH)] == [1, 1, 2]
