import threading
from contextlib import suppress

import pytest
import torch

from recsys.threads import single, spread


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


def test_one_call_keeps_all_threads_and_an_error_comes_through():
    assert spread([torch.get_num_threads]) == [2]
    assert spread([]) == []
    with pytest.raises(ZeroDivisionError):
        spread([lambda: 1 / 0, lambda: 2])
    assert torch.get_num_threads() == 2


def test_single_is_put_back():
    with suppress(KeyError), single():
        assert torch.get_num_threads() == 1
        raise KeyError
    assert torch.get_num_threads() == 2
