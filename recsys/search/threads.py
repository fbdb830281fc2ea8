"""How many of torch's threads work on a batch of users, and which processes have no threads to work with.

Threads that share small matrix products spend longer waiting for each other than computing, and on a busy machine far
longer. So users are split among worker threads that each compute with a single torch thread. The workers are created
once: ``torch.set_num_threads`` also sets the default of every thread that torch has not seen yet, so it must not be
called while others compute.

A fork of a process in which the threads of Polars were lost would wait for them for ever, so it is refused. A fork has
only the thread that forked. Polars starts its threads at its first work, once a process, and offers no way to start
them again. So the threads are looked for before every fork, and a child knows whether any were lost.
"""

import os
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from operator import call
from pathlib import Path
from threading import Barrier
from typing import TypeVar

import torch

from ..errors import InputError

Result = TypeVar("Result")

_THREADS = Path("/proc/self/task")
_OF_POLARS = re.compile(r"polars-\d|async-exec|tokio-rt")  # not "polars-ooc-clea", which importing it starts
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


class _Fork:
    """What this process, or the one that forks it, knows: the threads of which process are lost; None: of none."""

    before: int | None = None
    lost: int | None = None


def _look() -> None:
    names = [_name(thread) for thread in _THREADS.glob("*/comm")] or ["polars-0"]  # other systems do not tell
    _Fork.before = os.getpid() if any(map(_OF_POLARS.match, names)) else None


def _name(thread: Path) -> str:
    try:
        return thread.read_text()
    except OSError:  # it has ended meanwhile
        return ""


def _lose() -> None:
    _Fork.lost = _Fork.before or _Fork.lost


def require_threads() -> None:
    """Raise InputError in a fork of a process in which Polars had worked, such as one that had loaded a retriever."""
    if _Fork.lost is not None:
        raise InputError(
            f"process {os.getpid()} is a fork of {_Fork.lost}, which had loaded a retriever or read a table; a fork "
            "has no threads to answer with: load after the fork only (gunicorn without preload_app, or its post_fork), "
            "or start processes by spawn"
        )


os.register_at_fork(before=_look, after_in_child=_lose)
os.register_at_fork(after_in_child=_use_one_thread)  # OpenMP's threads are lost there, and waited for for ever
