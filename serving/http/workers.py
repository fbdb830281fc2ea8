"""Several processes behind one socket, each with a service of its own; one that dies is replaced.

They are spawned, never forked: the threads of Polars and Torch do not survive a fork.
"""

import logging
import os
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import connection, get_context, parent_process
from multiprocessing.context import SpawnProcess

from recsys.errors import InputError

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"  # read by the Prometheus client when it is imported
LOOK_SECONDS = 0.2  # between two looks at a signal
YOUNG_SECONDS = 5.0  # a worker that dies sooner is not replaced at once, or it might take the processor from the others
GRACE_SECONDS = 30.0  # for the requests that are under way
logger = logging.getLogger(__name__)
Work = Callable[[socket.socket, Callable[[], None]], None]


@dataclass(frozen=True)
class _Worker:
    process: SpawnProcess
    says: "connection.Connection[str, str]"
    since: float


def run_workers(num_workers: int, listener: socket.socket, work: Work) -> None:
    """Let workers answer a socket until a signal ends this process; they answer what is under way first.

    Args:
        num_workers: How many.
        listener: Bound; every worker listens on it.
        work: What each does, in a process of its own, until SIGTERM: it is given the socket, and a function to call
            once it answers. It must be importable by name.

    Raises:
        InputError: The first worker could not start.
    """
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    workers: list[_Worker] = []
    with tempfile.TemporaryDirectory(prefix="recsys-metrics-") as folder:
        os.environ[FOLDER_VARIABLE] = folder
        try:
            workers.append(_start(work, listener))
            _require_ready(workers[0], stop)  # it fills the cache for the others
            workers += [_start(work, listener) for _ in range(num_workers - 1)]
            while not stop.is_set():
                connection.wait([worker.process.sentinel for worker in workers], LOOK_SECONDS)
                workers = [worker if worker.process.is_alive() else _replaced(worker, work, listener, stop)
                           for worker in workers]  # fmt: skip
        finally:
            _end(workers)
            del os.environ[FOLDER_VARIABLE]


def _start(work: Work, listener: socket.socket) -> _Worker:
    hears, says = get_context("spawn").Pipe(duplex=False)
    process = get_context("spawn").Process(target=_run, args=(work, listener, says), name="worker")
    process.start()
    says.close()  # so that the end of the process ends the pipe
    return _Worker(process, hears, time.monotonic())


def _require_ready(worker: _Worker, stop: threading.Event) -> None:
    while not stop.is_set():
        if worker.says.poll(LOOK_SECONDS):
            try:
                fault = worker.says.recv()
            except EOFError:
                worker.process.join()
                raise InputError(f"the first worker ended with code {worker.process.exitcode}; see its log") from None
            if fault:
                raise InputError(fault)
            return


def _replaced(dead: _Worker, work: Work, listener: socket.socket, stop: threading.Event) -> _Worker:
    from prometheus_client.multiprocess import mark_process_dead

    logger.error("worker %s ended with code %s; another takes over", dead.process.pid, dead.process.exitcode)
    mark_process_dead(dead.process.pid)  # type: ignore[no-untyped-call]
    dead.says.close()
    if time.monotonic() - dead.since < YOUNG_SECONDS:
        stop.wait(YOUNG_SECONDS)
    return _start(work, listener)


def _end(workers: list[_Worker]) -> None:
    for worker in workers:
        worker.process.terminate()
    until = time.monotonic() + GRACE_SECONDS
    for worker in workers:
        worker.process.join(max(0.0, until - time.monotonic()))
        if worker.process.is_alive():
            logger.error("worker %s did not end in %g seconds and is killed", worker.process.pid, GRACE_SECONDS)
            worker.process.kill()
            worker.process.join()


def _run(work: Work, listener: socket.socket, says: "connection.Connection[str, str]") -> None:
    """What a worker's process does."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))  # until the server has handlers of its own
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        work(listener, lambda: says.send(""))
    except InputError as error:
        says.send(str(error))
        sys.exit(2)


def _end_with_parent() -> None:
    """End this process as a signal would once the supervisor has died, so that nothing holds the socket."""
    parent = parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os.kill(os.getpid(), signal.SIGTERM)
