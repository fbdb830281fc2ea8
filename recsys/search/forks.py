"""Forks of this process: one in which the threads of Polars were lost would wait for them for ever, so it is refused.

A fork has only the thread that forked. Polars starts its threads at its first work, once a process, and offers no way
to start them again. So the threads are looked for before every fork, and a child knows whether any were lost.
"""

import os
import re
from pathlib import Path

from ..errors import InputError

_THREADS = Path("/proc/self/task")
_OF_POLARS = re.compile(r"polars-\d|async-exec|tokio-rt")  # not "polars-ooc-clea", which importing it starts


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
