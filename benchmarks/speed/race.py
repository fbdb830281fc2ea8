"""A race: contestants in fresh processes, by turns, so that a busy machine is as busy for one as for another.

A contestant is a generator function. It imports what it needs and yields: the clock starts. It does its work and yields
again: the clock stops, and the peak memory is read. It yields once more, its answer, which must be that of all: figures
and digests that are compared before any time is believed.
"""

import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PEERS = ROOT / "benchmarks" / ".peers"  # the environment of the peers, made by `make bench`
Answer = dict[str, Any]
Contest = Callable[..., Iterator[Answer | None]]


@dataclass(frozen=True)
class Contestant:
    """function: its name in the row's module. peer: it runs in the peers' environment. variables: of the process."""

    label: str
    function: str
    peer: bool = True
    variables: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Result:
    """seconds, peak_mib and answers: one of every round."""

    label: str
    seconds: list[float]
    peak_mib: list[float]
    answers: list[Answer]

    def __add__(self, later: "Result") -> "Result":
        return Result(
            self.label, self.seconds + later.seconds, self.peak_mib + later.peak_mib, self.answers + later.answers
        )


def race(
    module: str, contestants: Sequence[Contestant], *, rounds: int, scratch: Path | None = None, **work: Any
) -> list[Result]:
    """Let all take turns, ``rounds`` times. scratch: a folder that is new for every run, given as ``out``.

    Raises RuntimeError where one fails.
    """
    results: dict[str, Result] = {}
    for number in range(rounds):
        for contestant in contestants if number % 2 == 0 else reversed(contestants):
            if scratch is not None:
                shutil.rmtree(scratch, ignore_errors=True)
                scratch.mkdir(parents=True)
            settings = work if scratch is None else work | {"out": str(scratch / "out")}
            turn, label = _run(module, contestant, settings), contestant.label
            results[label] = results[label] + turn if label in results else turn
            sys.stdout.write(f"  {label}: {turn.seconds[0]:.3f} s, {turn.peak_mib[0]:.0f} MiB\n")
            sys.stdout.flush()
    return [results[contestant.label] for contestant in contestants]


def agree(results: Sequence[Result], *, tolerance: float = 0.0) -> None:
    """Raise RuntimeError where two first answers differ: numbers by more than ``tolerance`` of the first's.

    What only one of them tells is not compared, nor are the "figures" that go into the table.
    """
    first = results[0]
    for other in results[1:]:
        for key in (first.answers[0].keys() & other.answers[0].keys()) - {"figures"}:
            expected, actual = first.answers[0][key], other.answers[0][key]
            same = actual == expected or (
                isinstance(expected, float) and abs(actual - expected) <= tolerance * abs(expected)
            )
            if not same:
                raise RuntimeError(f"{key}: {first.label} has {expected}, {other.label} has {actual}")


def enter(contestants: Mapping[str, Contest]) -> None:
    """The other side: be the contestant that the command line names, and tell what it took."""
    name, work = sys.argv[1], json.loads(sys.argv[2])
    steps = contestants[name](**work)
    next(steps)
    started = time.perf_counter()
    next(steps)
    seconds = time.perf_counter() - started
    peak = peak_mib()
    sys.stdout.write("\n" + json.dumps({"seconds": seconds, "peak_mib": peak, "answer": next(steps)}) + "\n")


def peak_mib() -> float:
    """Of this process. What getrusage says on Linux is at least what its parent held when it was forked."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # bytes on a Mac
    return int(status.read_text().partition("VmHWM:")[2].split()[0]) / 1024


def _run(module: str, contestant: Contestant, work: Mapping[str, Any]) -> Result:
    """One turn of a contestant, in a process of its own."""
    python = PEERS / "bin" / "python" if contestant.peer else Path(sys.executable)
    command = [str(python), "-m", module, contestant.function, json.dumps({**work, **contestant.settings})]
    variables = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore", **contestant.variables}
    done = subprocess.run(command, capture_output=True, text=True, env=variables, check=False)
    if done.returncode:
        raise RuntimeError(f"{contestant.label} failed:\n{done.stderr[-2000:]}")
    turn = json.loads(done.stdout.splitlines()[-1])
    return Result(contestant.label, [turn["seconds"]], [turn["peak_mib"]], [turn["answer"]])
