"""Functions over paths as tasks of a Ray cluster, which schedules them and repeats those whose process or node is lost.

The machines of the cluster share a file system, and each has the same release installed. Only a command with
``--engine ray`` imports this module.
"""

import logging
import os
import socket
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from . import __version__
from .errors import InputError

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # these are read when Ray is imported or started
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

logger = logging.getLogger(__name__)
ATTEMPTS = 20  # of one task, each of which ended with its process or node
CONNECT_SECONDS, END_SECONDS = 5.0, 300.0
OBJECT_STORE = 1 << 29  # bytes, of a cluster that is started here: what is large goes through files
HERE = "local"  # Ray's address of a cluster that it starts on this machine
THREADS = ("OMP_NUM_THREADS", "POLARS_MAX_THREADS")  # of a task, which has one processor
Map = Callable[..., Iterable[Any]]


@contextmanager
def connected(address: str | None) -> Iterator[None]:
    """Be connected to a cluster.

    Args:
        address: HOST:PORT of its head, or "auto" on one of its machines; None for that in RAY_ADDRESS, else for this
            machine alone, where Ray is started and ended. A process that is connected already stays so.

    Raises:
        InputError: There is no cluster.
    """
    if ray.is_initialized():
        yield
        return
    name = "RAY_ADDRESS" if address is None else "--address"
    if address is None:  # Ray itself would join a cluster that happens to run here
        address = os.environ.get("RAY_ADDRESS") or HERE
    if address not in ("auto", HERE):
        _require_listening(name, address)
    ray._private.worker.print_to_stdstream = _log_event  # type: ignore[assignment]  # there is no setting for it
    try:
        ray.init(
            address=address, runtime_env=one_thread(), include_dashboard=False,
            object_store_memory=OBJECT_STORE if address == HERE else None, log_to_driver=False,
            logging_level=logging.ERROR,
        )  # fmt: skip
    except (RayError, OSError, RuntimeError, ValueError) as error:
        raise _no_cluster(address, str(error)) from error
    try:
        yield
    finally:
        ray.shutdown()


def one_thread() -> dict[str, dict[str, str]]:
    """The environment of a process that has one processor, as Ray takes it."""
    return {"env_vars": dict.fromkeys(THREADS, "1")}


def _log_event(event: dict[str, Any], ignore_prefix: bool) -> None:
    """Log what the cluster says of lost processes in a line each, where Ray would print paragraphs to stdout."""
    for text in event["lines"]:
        logger.warning("cluster: %s", text.strip().partition(". ")[0])


def _require_listening(name: str, address: str) -> None:
    """Raise InputError at once where Ray would ask for minutes and then end the process. name: of the setting."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or "/" in address:
        raise InputError(f"{name} is {address!r}; expected HOST:PORT of the head of a Ray cluster, or auto")
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise _no_cluster(address, getattr(error, "strerror", None) or str(error)) from error


def _no_cluster(address: str, reason: str) -> InputError:
    if address == HERE:
        return InputError(f"Ray does not start on this machine: {reason}; leave out --engine ray, or name a cluster")
    return InputError(
        f"no Ray cluster at {address}: {reason}; start one with `ray start --head --port=6379`, leave out --address, "
        "or set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN if it asks for a token"
    )


@contextmanager
def task_map(folder: Path | None) -> Iterator[Map]:
    """Yield a ``map`` whose calls are tasks of the cluster. Results come in the order of the calls.

    A function that raises stops the iteration with the same error. When the context ends, tasks that have not started
    do nothing any more, and those that have are waited for, so that nothing writes to ``folder`` afterwards.

    Args:
        folder: Where the functions write, and all machines must see the same; None if they write nothing.

    Raises:
        InputError: A machine sees another folder or has another release, or the cluster gave up on a task.
    """
    underway: deque[ray.ObjectRef[Any]] = deque()
    witness = None if folder is None else folder / f".cluster-{os.urandom(8).hex()}.partial"
    if witness is not None:
        witness.touch()
    try:
        _require_same_everywhere(witness)
        yield lambda function, *arguments: _results(underway, witness, function, *arguments)
    finally:
        if witness is not None:
            witness.unlink(missing_ok=True)  # without it, a task does not start; Ray aborts if it cancels one that ends
            if underway:
                logger.info("waiting for tasks that are under way")
                ray.wait(list(underway), num_returns=len(underway), timeout=END_SECONDS, fetch_local=False)


def _results(
    underway: "deque[ray.ObjectRef[Any]]", witness: Path | None, function: Callable[..., Any], *arguments: Iterable[Any]
) -> Iterator[Any]:
    free = ray.available_resources().get("CPU", 0)  # type: ignore[no-untyped-call]  # Ray ships it untyped
    if not underway and free < 1:
        logger.info("waiting for a free processor of the cluster")
    shared = ray.put(function)  # once, with the arrays that it holds
    underway.extend(_task.remote(witness, __version__, shared, *call) for call in zip(*arguments, strict=True))
    while underway:
        result = _result(underway[0])
        underway.popleft()  # nobody needs it again, so the cluster may forget it
        yield result


@ray.remote(num_cpus=1, max_retries=ATTEMPTS - 1, scheduling_strategy="SPREAD")
def _task(witness: Path | None, version: str, function: Callable[..., Any], *arguments: Any) -> Any:
    _require_same(witness, version)
    return function(*arguments)


def _require_same(witness: Path | None, version: str) -> None:
    """Raise InputError where this machine is unlike the one that started the job."""
    here = socket.gethostname()
    if version != __version__:
        raise InputError(
            f"recsys is {__version__} on {here} and {version} where the job was started; install one release"
        )
    if witness is not None and not witness.exists():
        raise InputError(
            f"{here} does not see {witness.parent}; expected one file system that all machines of the cluster share: "
            "mount it there, and choose an --out on it"
        )


_look = ray.remote(num_cpus=0, max_retries=ATTEMPTS - 1)(_require_same)


def _require_same_everywhere(witness: Path | None) -> None:
    nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]  # Ray ships it untyped
    looks = [
        _look.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=True)).remote(witness, __version__)
        for node in nodes
    ]
    for look in looks:
        _result(look)


def _result(ref: "ray.ObjectRef[Any]") -> Any:
    try:
        return ray.get(ref)
    except RayError as error:
        _raise_as_here(error)


def _raise_as_here(error: RayError) -> NoReturn:
    """Raise what a function raised as if it had been called in this process; bad input without Ray's traceback."""
    if isinstance(error, RayTaskError) and isinstance(error.cause, RayError):
        error = error.cause  # what the function needs was lost before it was called
    if isinstance(error, RayTaskError):
        is_input = isinstance(error.cause, InputError | OSError)
        raise error.cause from (None if is_input else error)
    reason = str(error).strip().splitlines()
    raise InputError(
        f"the Ray cluster gave up on a task ({type(error).__name__}: {reason[0] if reason else 'no reason'}); "
        "look at its logs, and at the memory of its machines: the same command starts again"
    ) from error
