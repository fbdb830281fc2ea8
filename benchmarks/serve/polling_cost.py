"""What following an alias costs: a minute of questions to the registry, at the service's interval.

    python -m benchmarks.serve.polling_cost

Asks a database file, then an `mlflow server` on loopback, as often as the service does in a minute, without its waits.
Prints the requests and the processor time on both sides, and how long a question takes once the server has stopped
answering, and once it is gone.
"""

import os
import signal
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl

from benchmarks.speed.query import world
from recsys.bundle import save_bundle
from recsys.registry import CHAMPION, Registry
from recsys.registry.runs import RunRecord
from recsys.retriever import GoldenAnswers, Retriever
from serving.service.bundle_cache import BundleCache
from serving.service.follower import POLL_SECONDS, Follower
from tests.tracking_server import tracking_server

NAME, POLLS = "followed", round(60 / POLL_SECONDS)
CLOCK = os.sysconf("SC_CLK_TCK")


def followed(uri: str, folder: Path) -> Follower:
    """A follower of a registry with one version, which has asked once."""
    bundle, store = folder / "bundle", Registry(uri)
    bundle_id = save_bundle(world(1_000, num_members=1)[0], bundle)
    retriever, golden = Retriever.load(bundle), folder / GoldenAnswers.FILE
    GoldenAnswers.of(retriever, pl.Series([["i1", "i2"]])).write(folder)
    record = RunRecord({}, {}, [], [(golden, "records")], {}, "", ("log", "d"))
    version = store.publish(NAME, bundle, bundle_id, record)
    store.move(NAME, CHAMPION, version)
    follower = Follower(f"models:/{NAME}@{CHAMPION}", uri, BundleCache(folder / "cache"), "cpu", lambda served: None)
    follower._current = follower._first_of_alias(NAME, CHAMPION)  # what start does, without its thread
    follower.poll()
    return follower


def minute(follower: Follower) -> tuple[float, float]:
    """Processor seconds of this process for a minute's questions, and the median seconds of one."""
    began, seconds = time.process_time(), []
    for _ in range(POLLS):
        asked = time.perf_counter()
        follower.poll()
        seconds.append(time.perf_counter() - asked)
        assert follower.registry_fault is None
    return time.process_time() - began, statistics.median(seconds)


def processes_of(folder: Path) -> list[int]:
    """The processes of the server whose files are in a folder: the one that names it, and its whole group."""
    numbers = [int(path.name) for path in Path("/proc").glob("[0-9]*") if int(path.name) != os.getpid()]
    group = next(number for number in numbers if str(folder).encode() in _read(Path(f"/proc/{number}/cmdline")))
    return [number for number in numbers if _group(number) == os.getpgid(group)]


def _group(process: int) -> int | None:
    try:
        return os.getpgid(process)
    except OSError:
        return None  # it has just ended


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""  # it has just ended


def processor_seconds(processes: list[int]) -> float:
    """What they have used so far."""
    fields = [_read(Path(f"/proc/{process}/stat")).rpartition(b")")[2].split() for process in processes]
    return sum(int(one[11]) + int(one[12]) for one in fields) / CLOCK


def question(follower: Follower) -> str:
    """How long one question takes, and what the service would report."""
    asked = time.perf_counter()
    follower.poll()
    return f"{time.perf_counter() - asked:.1f} s: {follower.registry_fault}"


def after(processes: list[int], number: signal.Signals, ask: Callable[[], str]) -> str:
    """What a question gets after the server has received a signal."""
    for process in processes:
        os.kill(process, number)
    return ask()


def main() -> None:
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        used, median = minute(followed(f"sqlite:///{folder / 'mlflow.db'}", folder / "file"))
        print(f"database file: {POLLS} questions a minute, {used:.2f} s of CPU, {1e3 * median:.0f} ms each")
        server = folder / "server"
        server.mkdir()
        with tracking_server(server) as uri:
            follower, processes = followed(uri, folder / "http"), processes_of(server)
            requests, before = (server / "server.log").read_text().count("HTTP/1"), processor_seconds(processes)
            used, median = minute(follower)
            theirs = processor_seconds(processes) - before
            requests = (server / "server.log").read_text().count("HTTP/1") - requests
            print(f"server: {requests} requests a minute, {used:.2f} s of CPU here and {theirs:.2f} s there, "
                  f"{1e3 * median:.0f} ms each")  # fmt: skip
            print("stopped:", after(processes, signal.SIGSTOP, lambda: question(follower)))
            print("going on:", after(processes, signal.SIGCONT, lambda: question(follower)))
            print("killed:", after(processes, signal.SIGKILL, lambda: question(follower)))


if __name__ == "__main__":
    main()
