"""Calls that end in time, whatever a server does: says nothing, sends a byte a second, or looks up its name for ever.

A call runs in a thread of its own, and its caller waits no longer than the deadline. Socket time-outs cannot promise
that: they start again with every byte, and looking up a name has none. The thread of an abandoned call is made to raise
at its next step, so that it sends no further request: what is written is written by the one that was under way.
It is made to raise again until it has ended, because a destructor or a hook of the garbage collector swallows what is
raised inside it.
"""

import contextvars
import ctypes
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, TimeoutError as NotDone
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

Result = TypeVar("Result")

CALL_SECONDS = 10.0  # one question to a server; MLFLOW_HTTP_REQUEST_TIMEOUT changes it
LOOKUP_SECONDS = 20.0  # all the questions of one look-up; never less than one question may take
EVENTFD_BYTES = 8
ABANDON_SECONDS = 1.0  # between two attempts to end an abandoned call; time enough to close what it has open
STALL_SECONDS, STALL_BYTES = 30.0, 64_000  # a transfer that moves fewer bytes in so long has stalled
_until: contextvars.ContextVar[float | None] = contextvars.ContextVar("until", default=None)


class NoAnswerError(Exception):
    """A call that its deadline ended. The message says how long it had."""


@contextmanager
def lookup() -> Iterator[None]:
    """Give all calls inside, together, LOOKUP_SECONDS."""
    token = _until.set(_until.get() or time.monotonic() + max(LOOKUP_SECONDS, call_seconds()))
    try:
        yield
    finally:
        _until.reset(token)


def call_seconds() -> float:
    """How long one call may take: what the user has set for MLflow, else CALL_SECONDS."""
    try:
        return float(os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"])
    except (KeyError, ValueError):
        return CALL_SECONDS


def bounded(function: Callable[..., Result], *arguments: Any, **keywords: Any) -> Result:
    """Call ``function``; raises NoAnswerError where it has not ended in time."""
    seconds, until = call_seconds(), _until.get()
    reason = f"no answer within {seconds:.0f} s"
    if until is not None and until - time.monotonic() < seconds:
        seconds = max(0.0, until - time.monotonic())
        reason = f"no answer to several questions within {LOOKUP_SECONDS:.0f} s"
    thread, result = _started(partial(function, *arguments, **keywords))
    return _awaited(thread, result, seconds, reason)


def transferred(function: Callable[..., Result], *arguments: Any, **keywords: Any) -> Result:
    """Call a function that reads or writes a file of any size; raises NoAnswerError where it stops doing so."""
    thread, result = _started(partial(function, *arguments, **keywords))
    moved = _bytes_moved()
    while True:
        try:
            return _awaited(thread, result, STALL_SECONDS, "", give_up=False)
        except NoAnswerError:
            now = _bytes_moved()
            if now - moved < STALL_BYTES:
                _abandon(thread)
                reason = f"the transfer of a file stalled: less than {STALL_BYTES // 1000} kB in {STALL_SECONDS:.0f} s"
                raise NoAnswerError(reason) from None
            moved = now


class BoundedClient:
    """An MlflowClient whose methods end in time. unbounded: the client itself."""

    def __init__(self, client: Any) -> None:
        self.unbounded = client

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self.unbounded, name)
        return partial(bounded, attribute) if callable(attribute) else attribute


def _started(work: Callable[[], Result]) -> tuple[threading.Thread, "Future[Result]"]:
    result: Future[Result] = Future()

    def run() -> None:
        try:
            result.set_result(work())
        except BaseException as error:  # it belongs to the caller, whatever it is
            result.set_exception(error)

    thread = threading.Thread(target=contextvars.copy_context().run, args=(run,), daemon=True, name="registry call")
    thread.start()
    return thread, result


def _awaited(
    thread: threading.Thread, result: "Future[Result]", seconds: float, reason: str, *, give_up: bool = True
) -> Result:
    try:
        return result.result(seconds)
    except NotDone:
        if result.done():
            raise  # the function's own
        if give_up:
            _abandon(thread)
        raise NoAnswerError(reason) from None
    except KeyboardInterrupt:
        _abandon(thread)
        raise


def _abandon(thread: threading.Thread) -> None:
    """Make a thread raise SystemExit as soon as it runs Python again, and until it has ended."""

    def end() -> None:
        while thread.is_alive():
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident or 0), ctypes.py_object(SystemExit))
            thread.join(ABANDON_SECONDS)

    threading.Thread(target=end, daemon=True, name="end of an abandoned call").start()


def _bytes_moved() -> int:
    """How much this process has read from and written to files; more and more where the system does not say.

    All threads count, because some stores copy with threads of their own. What comes through a socket does not, nor do
    the eight bytes of an eventfd: the runtimes of Polars and of object stores wake their threads thousands of times a
    second by these.
    """
    try:
        lines = Path("/proc/self/io").read_text().splitlines()
    except OSError:
        return time.monotonic_ns()  # not Linux, or closed to this user: nothing counts as a stall
    counts = {name: int(count) for name, _, count in (line.partition(":") for line in lines)}
    return counts["rchar"] + counts["wchar"] - EVENTFD_BYTES * (counts["syscr"] + counts["syscw"])
