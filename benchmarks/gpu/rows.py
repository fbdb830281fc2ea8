"""Rows of the table, and processes of their own for what is measured, so that a crash is no one else's."""

import gc
import importlib.util
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).parents[2]
DEVICE = "cuda"


@dataclass(frozen=True)
class Row:
    """One line of the table. result: figures, "does not fit", "not run: needs X" or "failed: why"."""

    check: str
    work: str
    contestant: str
    result: str


def outcome(measure: Callable[..., str], *arguments: Any) -> str:
    """Its figures, or why there are none, in words."""
    try:
        return measure(*arguments)
    except ModuleNotFoundError as error:
        return f"not run: needs {error.name}"
    except torch.OutOfMemoryError:
        return "does not fit"
    except Exception as error:  # a compiler or a driver may raise anything, and the other rows are still wanted
        words = " ".join(str(error).split())
        if "C compiler" in words:
            return "not run: needs a C compiler"
        return f"failed: {type(error).__name__}: {words[:200]}"


def apart(measure: Callable[..., str], *jobs: tuple[Any, ...]) -> list[str]:
    """The outcome of every job, from a fresh process: a crash, or a GPU left in disorder, is no one else's."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        try:
            return pool.submit(_one_by_one, measure, jobs).result()
        except BrokenProcessPool:
            return ["failed: its process died"] * len(jobs)


def _one_by_one(measure: Callable[..., str], jobs: tuple[tuple[Any, ...], ...]) -> list[str]:
    found = []
    for job in jobs:
        found.append(outcome(measure, *job))
        gc.collect()
        torch.cuda.empty_cache()
    return found


def need(*modules: str) -> None:
    for name in modules:
        if importlib.util.find_spec(name) is None:
            raise ModuleNotFoundError(name=name)
