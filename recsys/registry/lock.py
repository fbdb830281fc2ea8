"""A lock for all processes that share a tracking store, on whatever machine.

MLflow has no compare-and-swap, but the name of a registered model is unique. So:

1. To take the lock of NAME, create the registered model ``NAME.lock`` with a token of one's own as description, then
   read it back: whoever finds its own token holds the lock. Reading back decides even if MLflow created the model twice
   because an answer was lost, or if the model was deleted while MLflow looked up why it could not be created.
2. To release it, delete the model, provided that it still has one's own token.
3. A holder that was killed leaves the model behind. Others break the lock by renaming the model, which only one of them
   can do, and deleting it. They do so at once if they see that the process has ended, which only processes on the same
   machine can see, and otherwise after STALE_SECONDS.

Only a model that carries a token and has no version is taken for a lock: whatever else stands in its place is a user's
model, which is left alone and named in an error. ``check_name`` refuses new ones of such a name.

The limit: a holder that is stopped for longer than STALE_SECONDS and then continues has lost the lock without noticing.
So it calls the function that ``locked`` yields before every write. The age of a lock compares the clock of the machine
that wrote it with that of the machine that reads it: clocks must agree to within minutes.
"""

import os
import random
import re
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError
from .mlflow_errors import ABSENT, THERE_ALREADY, unless
from .names import BROKEN, LOCK, lock_name

if TYPE_CHECKING:
    from mlflow import MlflowClient

STALE_SECONDS = 300.0
PATIENCE_SECONDS = 120.0  # how long to wait for another process
POLL_SECONDS = 0.2
TOKEN = re.compile(r"\S+ (?P<pid>\d+) (?P<started>\d+) (?P<machine>\S+) [0-9a-f]{32}")
ENDED, UNSEEN = "ended", "unseen"


@dataclass(frozen=True)
class Holder:
    """Who holds a lock: the token, and when the lock was taken, in seconds since 1970."""

    token: str
    since: float


@contextmanager
def locked(client: "MlflowClient", name: str) -> Iterator[Callable[[], None]]:
    """Hold the lock of a registered model.

    Yields:
        A function that raises InputError if the lock was lost to another process.

    Raises:
        InputError: another process holds the lock for longer than PATIENCE_SECONDS, or a model that is no lock has its
            name.
    """
    lock, token = lock_name(name), _new_token()
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (holder := _try_to_take(client, lock, token)) is None or holder.token != token:
        if holder is not None and not _is_lock(client, lock, holder):
            raise InputError(
                f"{name} cannot be locked: a registered model has the name of its lock, {lock!r}; expected none; "
                "rename that model"
            )
        if holder is not None and _is_dead(holder):
            _break(client, lock, holder)
        elif time.monotonic() > deadline:
            blocker = holder.token if holder is not None else "others, in turns"
            raise InputError(
                f"{name} is locked by {blocker}; expected it to be free within {PATIENCE_SECONDS:.0f} s: try again, or "
                f"if that process is dead, wait {STALE_SECONDS:.0f} s"
            )
        else:
            time.sleep(POLL_SECONDS * (0.5 + random.random()))  # random, so that waiting processes do not collide

    def check_lock() -> None:
        if not _holds(client, lock, token):
            raise InputError(f"{name}: the lock was lost to another process; nothing more was changed: run it again")

    try:
        yield check_lock
    finally:
        holder = _holder(client, lock)
        if holder is not None and holder.token == token and _is_lock(client, lock, holder):
            unless(ABSENT, client.delete_registered_model, lock)


def _try_to_take(client: "MlflowClient", lock: str, token: str) -> Holder | None:
    """Create the lock unless it is there; returns who holds it then, or None if it is gone again."""

    def create() -> None:
        unless(THERE_ALREADY, client.create_registered_model, lock, None, token)

    unless(ABSENT, create)  # MLflow looks up what is there already, and by then it may be gone
    return _holder(client, lock)


def _holder(client: "MlflowClient", lock: str) -> Holder | None:
    model = unless(ABSENT, client.get_registered_model, lock)
    return None if model is None else Holder(model.description or "", model.creation_timestamp / 1000)


def _is_lock(client: "MlflowClient", name: str, holder: Holder) -> bool:
    """Whether a registered model is a lock: it carries a token and has no version, which could be lost with it."""
    return TOKEN.fullmatch(holder.token) is not None and not client.search_model_versions(f"name = '{name}'")


def _holds(client: "MlflowClient", lock: str, token: str) -> bool:
    holder = _holder(client, lock)
    return holder is not None and holder.token == token


def _new_token() -> str:
    """This process, as TOKEN describes it, and a random part."""
    pid = os.getpid()
    return f"{socket.gethostname()} {pid} {_start_time(pid)} {_this_machine()} {uuid.uuid4().hex}"


def _is_dead(holder: Holder) -> bool:
    """Whether the process that took a lock has ended, as far as can be seen from here, or the lock is too old."""
    token = TOKEN.fullmatch(holder.token)
    here = token is not None and token["machine"] == _this_machine()
    if token is not None and here and _start_time(int(token["pid"])) not in (token["started"], UNSEEN):
        return True
    return time.time() - holder.since > STALE_SECONDS


def _this_machine() -> str:
    """This boot of this machine and its table of processes (a container has its own), or UNSEEN."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:  # not Linux
        return UNSEEN


def _start_time(pid: int) -> str:
    """When a process started, in clock ticks since the boot (pids are reused), or ENDED, or UNSEEN."""
    try:
        os.kill(pid, 0)
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return ENDED if state in "ZX" else fields[18]  # Z: killed, but its parent has not asked for it yet
    except ProcessLookupError:
        return ENDED
    except OSError:
        return UNSEEN


def _break(client: "MlflowClient", lock: str, dead: Holder) -> None:
    """Remove the lock of a dead holder.

    Several processes may try; the rename succeeds for one of them. If a live process has taken the lock meanwhile, the
    rename took its lock instead of the dead one, and is undone.
    """
    broken = f"{lock.removesuffix(LOCK)}{BROKEN}{uuid.uuid4().hex}"
    unless(ABSENT, client.rename_registered_model, lock, broken)
    renamed = _holder(client, broken)
    if renamed is not None and not (renamed.token == dead.token and _is_lock(client, broken, renamed)):
        unless(THERE_ALREADY, client.rename_registered_model, broken, lock)
    elif renamed is not None:
        unless(ABSENT, client.delete_registered_model, broken)
