"""A lock among all who share a tracking store, machines that share nothing else included.

MLflow has no compare-and-swap, but the name of a registered model is unique: whoever creates the model ``NAME.lock``
holds the lock, and deletes it in the end. A holder that was killed leaves it behind; others rename it away, which also
only one of them can do, and the lock is free: those on its machine at once, as they see that the process has ended, all
others after STALE_SECONDS. Its limit: a holder that was stopped for longer than that and goes on believes that it still
holds the lock until it asks again (``held``), so it asks before every step. Ages are told by the clock that wrote the
lock and the clock that reads it: they must agree to minutes.
"""

import os
import random
import re
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from .mlflow_errors import ABSENT, THERE_ALREADY, unless

if TYPE_CHECKING:
    from mlflow import MlflowClient

STALE_SECONDS = 300.0
PATIENCE_SECONDS = 120.0  # how long one waits for another's promotion
POLL_SECONDS = 0.2
TOKEN = re.compile(r"\S+ (?P<pid>\d+) (?P<started>\d+) (?P<here>\S+) [0-9a-f]{32}")
ENDED, UNSEEN = "ended", "unseen"


@contextmanager
def locked(client: "MlflowClient", name: str) -> Iterator[Callable[[], None]]:
    """Hold the lock of a registered model; gives a function that raises InputError once it is lost.

    Raises InputError where another holds it for longer than PATIENCE_SECONDS.
    """
    pid = os.getpid()
    lock, token = f"{name}.lock", f"{socket.gethostname()} {pid} {_started(pid)} {_here()} {uuid.uuid4().hex}"
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        # MLflow looks up what is there already, and by then it may be gone; and where the answer is lost, it creates
        # again: what is there already may be ours
        unless(ABSENT, unless, THERE_ALREADY, client.create_registered_model, lock, None, token)
        holder = unless(ABSENT, client.get_registered_model, lock)
        if holder is not None and holder.description == token:
            break
        if holder is not None and _dead(holder):
            _break(client, holder)
        elif time.monotonic() > deadline:
            by = holder.description if holder is not None else "others, in turns"
            raise InputError(
                f"{name} is locked by {by}; expected it to be free within {PATIENCE_SECONDS:.0f} s: try again, or if "
                f"that process is dead, wait {STALE_SECONDS:.0f} s"
            )
        else:
            time.sleep(POLL_SECONDS * (0.5 + random.random()))  # not for secrets

    def held() -> None:
        holder = unless(ABSENT, client.get_registered_model, lock)
        if holder is None or holder.description != token:
            raise InputError(f"{name}: the lock was lost to another process; nothing more was changed: run it again")

    try:
        yield held
    finally:
        holder = unless(ABSENT, client.get_registered_model, lock)
        if holder is not None and holder.description == token:
            unless(ABSENT, client.delete_registered_model, lock)


def _dead(holder: Any) -> bool:
    """Whether a lock is of a process that has ended, as far as can be seen from here, or is too old."""
    token = TOKEN.fullmatch(holder.description or "")
    if token is not None and token["here"] == _here() and _started(int(token["pid"])) not in (token["started"], UNSEEN):
        return True
    return bool(time.time() - holder.creation_timestamp / 1000 > STALE_SECONDS)


def _here() -> str:
    """This boot of this machine and its table of processes, of which a container has its own; else UNSEEN."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:  # no Linux
        return UNSEEN


def _started(pid: int) -> str:
    """When a process started, in clock ticks since the boot (pids come again); else ENDED, or UNSEEN."""
    try:
        os.kill(pid, 0)
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return ENDED if state in "ZX" else fields[18]  # killed, but its parent has not asked for it yet
    except ProcessLookupError:
        return ENDED
    except OSError:
        return UNSEEN


def _break(client: "MlflowClient", dead: Any) -> None:
    """Take a dead holder's lock away; of those who try, the rename succeeds for one. A live one is given back."""
    lock, broken = dead.name, f"{dead.name}.broken-{uuid.uuid4().hex}"
    unless(ABSENT, client.rename_registered_model, lock, broken)
    taken = unless(ABSENT, client.get_registered_model, broken)
    if taken is not None and taken.description != dead.description:
        unless(THERE_ALREADY, client.rename_registered_model, broken, lock)
    elif taken is not None:
        unless(ABSENT, client.delete_registered_model, broken)
