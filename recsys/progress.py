"""Progress of a long job. Library code names its stages and loops here; whoever watches decides how to show them.

Nothing is shown by default: stages are logged at INFO, and loops run as if they were plain. The command line
(recsys/actions/console.py) installs a display with ``planned``.
"""

import logging
import time
from collections.abc import Iterable, Iterator, Sized
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

Item = TypeVar("Item")
logger = logging.getLogger(__name__)


class Display(Protocol):
    """What shows progress to a person."""

    def stage(self, label: str) -> AbstractContextManager[None]:
        """Show that a stage runs, until the context ends."""
        ...

    def track(self, items: Iterable[Item], label: str, total: int | None) -> Iterator[Item]:
        """Yield ``items`` and show how far along they are."""
        ...


@dataclass
class Plan:
    """The stages of one command: how many there are, how many have started, and the seconds that each took."""

    num_stages: int
    display: Display | None = None
    num_started: int = 0
    running: str | None = None
    seconds: dict[str, float] = field(default_factory=dict)


_plan: ContextVar[Plan | None] = ContextVar("plan", default=None)


@contextmanager
def planned(num_stages: int, display: Display | None = None) -> Iterator[Plan]:
    """Number the stages that follow and show them on ``display``.

    Inside another plan nothing changes: a command that runs other commands counts all stages itself.
    """
    outer = _plan.get()
    if outer is not None:
        yield outer
        return
    plan = Plan(num_stages, display)
    token = _plan.set(plan)
    try:
        yield plan
    finally:
        _plan.reset(token)


def expect_stage() -> None:
    """Say that one more stage will follow than the command always has, before the first one starts."""
    plan = _plan.get()
    if plan is not None and plan.num_stages:
        plan.num_stages += 1


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Announce a stage ("stage 3 of 6: train"), and log its duration when it ends.

    A stage inside a stage is a step of it: it has no number and no duration of its own.
    """
    plan = _plan.get() or Plan(0)
    if plan.running is not None:
        logger.info("%s", name)
        yield
        return
    plan.num_started += 1
    plan.running, started = name, time.perf_counter()
    label = f"stage {plan.num_started} of {plan.num_stages}: {name}" if plan.num_stages else name
    logger.info("%s", label)
    try:
        with plan.display.stage(label) if plan.display is not None else nullcontext():
            yield
    finally:
        plan.running = None
    plan.seconds[name] = time.perf_counter() - started
    logger.info("%s: done in %s", name, duration(plan.seconds[name]))


def track(items: Iterable[Item], label: str, total: int | None = None) -> Iterator[Item]:
    """Yield ``items`` while a display shows how many are done, and the time left.

    Args:
        items: What to loop over.
        label: What an item is or what happens to it, such as "users scored".
        total: How many items there are; by default ``len(items)`` where it has a length.

    Yields:
        The items, unchanged.
    """
    plan = _plan.get()
    if plan is None or plan.display is None:
        yield from items
        return
    if total is None and isinstance(items, Sized):
        total = len(items)
    yield from plan.display.track(items, label, total)


def duration(seconds: float) -> str:
    """Seconds as a person says them: "0.4 s", "54 s", "2 min 31 s", "1 h 5 min"."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 1:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
