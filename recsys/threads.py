"""Who works with how many of torch's threads.

Threads that share small products wait for each other longer than they compute, on a busy machine many times as long.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from operator import call
from typing import TypeVar

import torch

Result = TypeVar("Result")

SMALL_BATCH = 4  # users; below it, tiles and more threads cost more than they save


def spread(calls: Sequence[Callable[[], Result]]) -> list[Result]:
    """What each call returns; as many at once as torch has threads, each of which is then torch's only one."""
    num_threads = torch.get_num_threads()
    if num_threads == 1 or len(calls) < 2:
        return [each() for each in calls]
    try:
        with ThreadPoolExecutor(num_threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            return list(pool.map(call, calls))
    finally:
        torch.set_num_threads(num_threads)  # what the workers set is the default of every new thread


@contextmanager
def single() -> Iterator[None]:
    """Let torch use the calling thread only. The setting belongs to that thread and is put back."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
