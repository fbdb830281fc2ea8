import threading

import pytest
import torch

from recsys.search.threads import SMALL_BATCH, one_thread_if_few, run_parallel


@pytest.fixture(autouse=True)
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_calls_run_at_once_on_one_torch_thread_each():
    together = threading.Barrier(2, timeout=10)  # breaks unless two calls run at once

    def call(number):
        together.wait()
        return number, torch.get_num_threads()

    assert run_parallel([lambda: call(1), lambda: call(2)]) == [(1, 1), (2, 1)]
    assert torch.get_num_threads() == 2
    seen = []
    thread = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert seen == [2]  # as without workers


def test_other_threads_keep_their_number():
    """Even a thread that torch first sees while workers compute."""
    met = []

    def meet():
        thread = threading.Thread(target=lambda: met.append(torch.get_num_threads()))
        thread.start()
        thread.join()

    run_parallel([meet] * 20)
    assert met == [2] * 20


def test_an_error_in_a_call_is_raised():
    assert run_parallel([]) == []
    with pytest.raises(ZeroDivisionError):
        run_parallel([lambda: 1 / 0, lambda: 2])
    assert torch.get_num_threads() == 2


def test_a_single_thread_runs_all_calls_itself():
    torch.set_num_threads(1)
    assert run_parallel([threading.get_ident] * 2) == [threading.get_ident()] * 2


def test_workers_may_use_workers():
    assert run_parallel([lambda: run_parallel([torch.get_num_threads] * 3)] * 4) == [[1] * 3] * 4


def test_a_few_users_have_one_thread_and_many_have_all():
    assert [one_thread_if_few(count, torch.get_num_threads) for count in (1, SMALL_BATCH - 1, SMALL_BATCH)] == [1, 1, 2]
