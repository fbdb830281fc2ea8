"""Servers in processes of their own."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

START_SECONDS = 120


@dataclass(frozen=True)
class Running:
    """A server that answers."""

    port: int
    process: "subprocess.Popen[bytes]"

    def rss_mib(self) -> float:
        """Its resident memory."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * 4096 / 2**20

    def cpu_seconds(self) -> float:
        """The CPU time that it has used."""
        times = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def running(command: Sequence[str], path: str, *, log: Path | None = None) -> Iterator[Running]:
    """Start ``command`` followed by ``--port PORT`` or PORT, wait until ``path`` answers, and end it afterwards."""
    port = free_port()
    with (log or Path(os.devnull)).open("wb") as output:
        process = subprocess.Popen([*command, str(port)], stdout=output, stderr=subprocess.STDOUT)
        try:
            until = time.monotonic() + START_SECONDS
            while not _answers(port, path):
                if process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError(f"{' '.join(command)} does not answer; see {log}")
                time.sleep(0.1)
            yield Running(port, process)
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()
            process.wait()


def ours(source: str, *flags: str) -> list[str]:
    """``recsys serve`` of a bundle folder or a model."""
    return [sys.executable, "-m", "recsys.cli", "serve", source, *flags, "--port"]


def plain(folder: Path) -> list[str]:
    """The plain pattern."""
    return [sys.executable, "-m", "benchmarks.serve.plain", str(folder)]


def free_port() -> int:
    """A port of this machine that nobody uses."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _answers(port: int, path: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
