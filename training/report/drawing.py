"""Charts are drawn in a process of their own: the library aborts its process on what it cannot draw.

One child draws all charts, because starting it takes longer than a chart. It is started with the first chart, and anew
after it has died.
"""

import atexit
import json
import os
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import altair as alt

from recsys.errors import InputError

TIMEOUT = 60.0  # seconds for one chart, of which the largest takes about one
_CHILD = Path(__file__).with_name("vega_process.py")
_VERSION = "_".join(alt.SCHEMA_VERSION.split(".")[:2])  # of Vega-Lite, as vl-convert writes it


class _Child:
    """The process that draws. owner: the process that may talk to it, which a fork of it may not."""

    def __init__(self) -> None:
        # -P: the folder of the script has modules named like those of the standard library
        self.process = subprocess.Popen(
            [sys.executable, "-P", str(_CHILD)], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self.owner = os.getpid()
        self.timed_out = False

    @property
    def usable(self) -> bool:
        return self.owner == os.getpid() and self.process.poll() is None

    def answer(self, request: str, timeout: float) -> str:
        """The child's answer; "" if it died."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        timer = threading.Timer(timeout, self._give_up)
        timer.start()
        try:
            self.process.stdin.write(request + "\n")
            self.process.stdin.flush()
            return self.process.stdout.readline()
        except BrokenPipeError:
            return ""
        finally:
            timer.cancel()

    def _give_up(self) -> None:
        self.timed_out = True
        self.process.kill()

    def close(self) -> None:
        """End the process."""
        if self.owner == os.getpid():
            self.process.kill()
            with suppress(BrokenPipeError):
                self.process.communicate()


_lock = threading.Lock()
_children: list[_Child] = []


def draw(chart: alt.LayerChart | alt.Chart, *, timeout: float = TIMEOUT) -> str:
    """Draw a chart as SVG.

    Args:
        chart: The chart.
        timeout: Seconds after which it is given up.

    Raises:
        InputError: The chart cannot be drawn.
    """
    request = json.dumps({"version": _VERSION, "chart": chart.to_dict()})
    with _lock:
        if not _children or not _children[-1].usable:
            _stop()
            _children.append(_Child())
        child = _children[-1]
        line = child.answer(request, timeout)
        if not line:
            _stop()
    if child.timed_out:
        raise InputError(f"it was not drawn within {timeout:g} seconds")
    if not line:
        raise InputError(f"the process that draws charts died of it (exit code {child.process.returncode})")
    answer = json.loads(line)
    if "error" in answer:
        raise InputError(f"it cannot be drawn: {answer['error']}")
    return str(answer["svg"])


@atexit.register
def _stop() -> None:
    while _children:
        _children.pop().close()
