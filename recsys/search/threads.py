"""How many of torch's threads work on a batch of users.

Threads that share small matrix products spend longer waiting for each other than computing, and on a busy machine far
longer. So users are split among worker threads that each compute with a single torch thread. The workers are created
once: ``torch.set_num_threads`` also sets the default of every thread that torch has not seen yet, so it must not be
called while others compute.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from operator import call
from threading import Barrier
from typing import TypeVar

import torch

Result = TypeVar("Result")

SMALL_BATCH = 4  # users; for fewer, tiles and more threads cost more than they save


def run_parallel(calls: Sequence[Callable[[], Result]]) -> list[Result]:
    """Run the calls, as many at once as torch has threads, each on one of them; returns their results in order."""
    num_threads = torch.get_num_threads()
    if num_threads == 1:
        return list(map(call, calls))
    return list(_workers(os.getpid(), num_threads).map(call, calls))


def one_thread_if_few(num_users: int, serve: Callable[[], Result]) -> Result:
    """Run ``serve``, on a single torch thread if it serves fewer than SMALL_BATCH users; returns its result."""
    return run_parallel([serve])[0] if num_users < SMALL_BATCH else serve()


@cache
def _workers(process: int, num_threads: int) -> ThreadPoolExecutor:
    """Worker threads of one torch thread each. process: its id, since a fork has none of its parent's threads."""
    pool, all_started = ThreadPoolExecutor(num_threads), Barrier(num_threads)

    def settle(_: int) -> None:
        all_started.wait()  # so that every worker does this exactly once
        torch.get_num_threads()  # registers the thread with torch, which would otherwise reset it to the default later
        torch.set_num_threads(1)

    list(pool.map(settle, range(num_threads)))
    torch.set_num_threads(num_threads)
    return pool


def _use_one_thread() -> None:
    torch.set_num_threads(1)


os.register_at_fork(after_in_child=_use_one_thread)  # OpenMP's threads are lost there, and waited for for ever
