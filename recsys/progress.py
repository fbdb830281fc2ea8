"""Progress of a long job: silent for library users, a bar with the time left where the command line shows one."""

import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TypeVar

import rich.progress

Item = TypeVar("Item")
logger = logging.getLogger(__name__)


@dataclass
class Plan:
    """The stages of one command. bars: where progress is drawn, or None where nobody watches."""

    num_stages: int
    bars: rich.progress.Progress | None = None
    num_started: int = 0


_plan: ContextVar[Plan | None] = ContextVar("plan", default=None)


@contextmanager
def planned(num_stages: int, bars: rich.progress.Progress | None = None) -> Iterator[None]:
    """Number the stages that follow, and draw their progress on ``bars``; the command line calls this."""
    token = _plan.set(Plan(num_stages, bars))
    try:
        yield
    finally:
        _plan.reset(token)


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Log the start of a stage ("stage 3 of 6: train") and, when it ends, its duration in seconds."""
    plan, started = _plan.get(), time.perf_counter()
    label = name
    if plan is not None:
        plan.num_started += 1
        label = f"stage {plan.num_started} of {plan.num_stages}: {name}"
    logger.info("%s", label)
    yield
    logger.info("%s: done in %.1f s", name, time.perf_counter() - started)


def track(items: Iterable[Item], label: str, total: int | None = None) -> Iterator[Item]:
    """Yield ``items`` and draw how far along they are; ``total`` is needed where ``items`` has no length."""
    plan = _plan.get()
    if plan is None or plan.bars is None:
        yield from items
    else:
        yield from plan.bars.track(items, total=total, description=label)
