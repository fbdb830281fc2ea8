"""What a person sees while a command runs: live progress on a terminal, dated lines in a log file. All on stderr.

On a terminal a running stage is a spinner with its latest message and the bars of its loops; when it ends, one line
with its duration stays. In a log every stage, message and slow loop is a line with a time stamp. Of several processes
(torchrun) only the first one is shown.
"""

import logging
import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from .. import progress
from ..progress import Item, Plan

OUR_LOGGERS = ("recsys", "features", "training", "serving")
SECONDS_BETWEEN_LINES = 30.0  # in a log, about one slow loop
logger = logging.getLogger(__name__)


@contextmanager
def watching(num_stages: int) -> Iterator[Plan]:
    """Show the stages, loops and log lines of one command on stderr.

    Args:
        num_stages: How many stages the command has.

    Yields:
        The plan, which holds the seconds of every stage that has ended.
    """
    console = Console(stderr=True, highlight=False, soft_wrap=False)
    handler: logging.Handler
    if console.is_terminal:
        terminal = Terminal(console)
        display: progress.Display = terminal
        handler = TerminalHandler(terminal)
    else:
        display, handler = LogFile(), logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(asctime)s %(prefix)s%(message)s", "%Y-%m-%d %H:%M:%S"))
        handler.addFilter(_with_prefix)
    with _handled(handler), progress.planned(num_stages, display if is_first_process() else None) as plan:
        yield plan


def is_first_process() -> bool:
    """Whether this is the process that reports, of those that torchrun started."""
    return os.environ.get("WORLD_SIZE", "1") == "1" or os.environ.get("RANK", "0") == "0"


@dataclass
class Terminal:
    """Live progress: the running stage, its latest message, and a bar for each loop in it."""

    console: Console
    live: Live | None = None
    message: Text = field(default_factory=lambda: Text("", style="dim", no_wrap=True, overflow="ellipsis"))

    def __post_init__(self) -> None:
        self.stages = Progress(
            SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=self.console
        )
        self.bars = Progress(
            TextColumn("  {task.description}"), BarColumn(bar_width=30), TextColumn("{task.percentage:>3.0f}%"),
            TimeRemainingColumn(compact=True), TextColumn("left"), console=self.console,
        )  # fmt: skip

    @contextmanager
    def stage(self, label: str) -> Iterator[None]:
        """Show a stage while it runs, then one line with its duration and its last message."""
        started, self.message.plain = time.perf_counter(), ""
        task = self.stages.add_task(label, total=None)
        try:
            with self._shown():
                yield
        finally:
            self.stages.remove_task(task)
        line = Text(f"{label:<40} {progress.duration(time.perf_counter() - started):>11}  ")
        self.console.print(line.append(self.message), no_wrap=True, overflow="ellipsis")

    def track(self, items: Iterable[Item], label: str, total: int | None) -> Iterator[Item]:
        """Show a loop as a bar with the time left."""
        task = self.bars.add_task(label, total=total)
        try:
            with self._shown():
                for item in items:
                    yield item
                    self.bars.advance(task)
        finally:
            self.bars.remove_task(task)

    def log(self, line: str) -> None:
        """Show a message: beside the running stage until the next one comes, else as a line of its own."""
        if self.live is None:
            self.console.print(line, markup=False)
        else:
            self.message.plain = f"  {line}"

    @contextmanager
    def _shown(self) -> Iterator[None]:
        if self.live is not None:
            yield
            return
        parts = Group(self.stages, self.message, self.bars)
        self.live = Live(parts, console=self.console, transient=True, refresh_per_second=4, redirect_stdout=False)
        try:
            with self.live:
                yield
        finally:
            self.live = None


class TerminalHandler(logging.Handler):
    """Log records on a terminal. Warnings stay, the rest is shown while its stage runs."""

    def __init__(self, terminal: Terminal) -> None:
        super().__init__()
        self.terminal = terminal

    def emit(self, record: logging.LogRecord) -> None:
        """Show a record; the stages' own lines are left out, since the display draws the stages."""
        if record.levelno >= logging.WARNING:
            self.terminal.console.print(f"warning: {record.getMessage()}", markup=False)
        elif record.name != progress.__name__:
            self.terminal.log(record.getMessage())


class LogFile:
    """Progress as lines of a log: stages log themselves, and of a slow loop a line every half minute."""

    @contextmanager
    def stage(self, label: str) -> Iterator[None]:
        """Add nothing to the lines that a stage logs itself."""
        yield

    def track(self, items: Iterable[Item], label: str, total: int | None) -> Iterator[Item]:
        """Log how far a loop is, every SECONDS_BETWEEN_LINES."""
        started = last = time.perf_counter()
        for number, item in enumerate(items, start=1):
            yield item
            now = time.perf_counter()
            if now - last >= SECONDS_BETWEEN_LINES:
                last = now
                seconds_left = (now - started) / number * ((total or number) - number)
                left = "" if total is None else f" of {total:,}, {progress.duration(seconds_left)} left"
                logger.info("%s: %s%s", label, f"{number:,}", left)


@contextmanager
def _handled(handler: logging.Handler) -> Iterator[None]:
    """Send the log lines of our packages to ``handler`` only: of other processes than the first, warnings only.

    Loggers above ours are left out, since libraries add handlers there: MLflow does when it creates a database.
    """
    packages = [logging.getLogger(name) for name in OUR_LOGGERS]
    settings = [(package.level, package.propagate) for package in packages]
    for package in packages:
        package.addHandler(handler)
        package.setLevel(logging.INFO if is_first_process() else logging.WARNING)
        package.propagate = False
    try:
        yield
    finally:
        for package, (level, propagate) in zip(packages, settings, strict=True):
            package.removeHandler(handler)
            package.setLevel(level)
            package.propagate = propagate


def _with_prefix(record: logging.LogRecord) -> bool:
    record.prefix = "warning: " if record.levelno >= logging.WARNING else ""
    return True
