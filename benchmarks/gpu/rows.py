"""Rows of results, and a process of its own for each contestant, so that a crash or a hang is no one else's."""

import gc
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from signal import SIGKILL
from time import monotonic
from typing import Any, TypeVar

import torch

ROOT = Path(__file__).parents[2]
DEVICE = "cuda"
SMALL = False  # sizes that take seconds on a CPU, to try the script itself

Figures = dict[str, float | int | str]
T = TypeVar("T")


@dataclass(frozen=True)
class Row:
    """One result. figures: by name, each with its unit; of what has none, the reason under "not run" or "failed"."""

    part: str
    work: str
    contestant: str
    figures: Figures


Send = Callable[[Row], None]


@dataclass(frozen=True)
class Job:
    """What one process does: it calls ``run(send, *arguments)``, and ``send`` takes its rows."""

    part: str
    contestant: str
    run: Callable[..., None]
    arguments: tuple[Any, ...] = ()


def sized(full: T, small: T) -> T:
    """The size to measure at."""
    return small if SMALL else full


def outcome(measure: Callable[..., Figures], *arguments: Any) -> Figures:
    """Its figures, or why there are none, in words."""
    try:
        return measure(*arguments)
    except ModuleNotFoundError as error:
        return {"not run": f"needs {error.name}"}
    except torch.OutOfMemoryError:
        return {"not run": "does not fit into memory"}
    except Exception as error:  # a compiler or a driver may raise anything, and the other rows are still wanted
        words = " ".join(str(error).split())
        if "C compiler" in words:
            return {"not run": "needs a C compiler"}
        return {"failed": f"{type(error).__name__}: {words[:300]}"}
    finally:
        if DEVICE == "cuda":
            gc.collect()
            torch.cuda.empty_cache()


def execute(job: Job, seconds: float) -> Iterator[Row]:
    """The rows of a job as they come, from a fresh process that is killed after so many seconds."""
    if seconds <= 0:
        yield Row(job.part, "", job.contestant, {"not run": "no time was left"})
        return
    context = get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(sender, job, DEVICE, SMALL))
    process.start()
    sender.close()
    deadline = monotonic() + seconds
    try:
        while ready := wait([receiver, process.sentinel], max(0.0, deadline - monotonic())):
            row = receiver.recv() if receiver in ready else _died(job, process)
            if row is not None:
                yield row
            if row is None or receiver not in ready:
                return
        yield Row(job.part, "", job.contestant, {"not run": f"stopped after {seconds:.0f} s, the rest of its time"})
    except EOFError:
        yield _died(job, process)
    finally:
        for kill in (partial(os.killpg, process.pid, SIGKILL), process.kill):  # its own processes, too
            with suppress(ProcessLookupError):
                kill()
        process.join()


def _died(job: Job, process: SpawnProcess) -> Row:
    process.join()
    return Row(job.part, "", job.contestant, {"failed": f"its process died, exit code {process.exitcode}"})


def _work(sender: Connection, job: Job, device: str, small: bool) -> None:
    """Send the rows, and None after the last: the pipe may stay open, for compilers leave processes behind."""
    global DEVICE, SMALL
    DEVICE, SMALL = device, small
    os.setsid()

    def run() -> Figures:
        job.run(sender.send, *job.arguments)
        return {}

    why = outcome(run)
    if why:
        sender.send(Row(job.part, "", job.contestant, why))
    sender.send(None)
