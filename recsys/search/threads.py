"""Who works with how many of torch's threads.

Threads that share small products wait for each other longer than they compute, on a busy machine many times as long. So
work is spread by users over workers that each have one of torch's threads. The workers are made once: what
``torch.set_num_threads`` sets is also the default of every thread that torch has not met, so nobody may change it
while others work.
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

SMALL_BATCH = 4  # users; below it, tiles and more threads cost more than they save


def spread(calls: Sequence[Callable[[], Result]]) -> list[Result]:
    """What each call returns; as many at once as torch has threads, each on one of them."""
    num_threads = torch.get_num_threads()
    if num_threads == 1:
        return [each() for each in calls]
    return list(_workers(os.getpid(), num_threads).map(call, calls))


def for_users(num_users: int, serve: Callable[[], Result]) -> Result:
    """What ``serve`` returns; a few users have one of torch's threads, since several would wait for each other."""
    return spread([serve])[0] if num_users < SMALL_BATCH else serve()


@cache
def _workers(process: int, num_threads: int) -> ThreadPoolExecutor:
    """Of this process: a fork has none of its parent's threads."""
    pool, together = ThreadPoolExecutor(num_threads), Barrier(num_threads)

    def settle(_: int) -> None:
        together.wait()  # so that every worker does it once
        torch.get_num_threads()  # torch meets the thread here, and would give it the default later
        torch.set_num_threads(1)

    list(pool.map(settle, range(num_threads)))
    torch.set_num_threads(num_threads)
    return pool
