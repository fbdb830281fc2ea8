"""Open-loop load: requests leave at a constant rate whether or not earlier ones are answered.

The latency of a request counts from the moment at which it was planned to leave, so a server that stalls pays for all
that had to wait (no coordinated omission). It runs in a process of its own, over a pool of keep-alive connections.
"""

import argparse
import asyncio
import collections
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

GIVE_UP = 5.0  # seconds after the last request, before what is not answered counts as lost


@dataclass(frozen=True)
class Load:
    """What came of a load.

    offered: requests a second that were planned. answered: with 200, a second. statuses: how many answers by status; 0
    is a request whose connection ended without an answer. p50, p99: of answers with 200, in ms; infinite without any.
    tokens: what ``token`` found in each answer with 200, in the order of answers.
    """

    offered: float
    answered: float
    statuses: dict[str, int]
    p50: float
    p99: float
    late_ms: float  # how late the generator itself sent, at the 99th percentile


class Connection(asyncio.Protocol):
    """One keep-alive connection. done: called with it, the status and the body once a request is answered."""

    def __init__(self, done: "Callable[[Connection, int, bytes], None]") -> None:
        self._done, self._buffer, self.planned, self.body = done, b"", 0.0, -1
        self.transport: Any = None
        self.is_closing = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, blank, rest = self._buffer.partition(b"\r\n\r\n")
        if not blank:
            return
        lowered = head.lower()
        at = lowered.index(b"content-length:") + 15
        length = int(lowered[at : lowered.find(b"\r\n", at) if b"\r\n" in lowered[at:] else None])
        if len(rest) >= length:
            self._buffer = rest[length:]
            self.is_closing = b"connection: close" in lowered
            self._done(self, int(head[9:12]), rest[:length])

    def connection_lost(self, error: Exception | None) -> None:
        self.is_closing = True
        if self.planned:
            self._done(self, 0, b"")


class Generator:
    """Sends the bodies in turn to a path of a server on this machine."""

    def __init__(self, port: int, path: str, bodies: Sequence[bytes], connections: int) -> None:
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: "
        self._requests = [f"{head}{len(body)}\r\n\r\n".encode() + body for body in bodies]
        self._port, self._most, self._open = port, connections, 0
        self._idle: list[Connection] = []
        self._waiting: collections.deque[tuple[float, int]] = collections.deque()
        self.latencies: list[float] = []
        self.lateness: list[float] = []
        self.statuses: collections.Counter[int] = collections.Counter()
        self.answers: list[tuple[int, bytes]] = []
        self.keep_answers = False
        self.ended: list[float] = []
        self.sent = 0

    async def run(self, rate: float, seconds: float) -> Load:
        """Offer ``rate`` requests a second for so long, then wait for what is under way."""
        loop = asyncio.get_running_loop()
        for _ in range(min(self._most, 32)):
            await self._connect(loop)
        count, start = int(rate * seconds), time.perf_counter() + 0.05
        for number in range(count):
            planned = start + number / rate
            if (wait := planned - time.perf_counter()) > 0.0005:
                await asyncio.sleep(wait)
            self._send(planned, number % len(self._requests))
            if number % 64 == 63:
                await asyncio.sleep(0)
        until = time.perf_counter() + GIVE_UP
        while sum(self.statuses.values()) < count and time.perf_counter() < until:
            await asyncio.sleep(0.01)
        self.statuses[0] += count - sum(self.statuses.values())
        good = sum(1 for at in self.ended if at < start + seconds)
        ms = np.array(self.latencies or [np.inf]) * 1e3
        return Load(rate, good / seconds, {str(status): n for status, n in self.statuses.items() if n},
                    float(np.percentile(ms, 50)), float(np.percentile(ms, 99)),
                    float(np.percentile(self.lateness or [0], 99) * 1e3))  # fmt: skip

    async def _connect(self, loop: asyncio.AbstractEventLoop) -> None:
        self._open += 1
        try:
            _, made = await loop.create_connection(lambda: Connection(self._done), "127.0.0.1", self._port)
        except OSError:
            self._open -= 1
            if self._waiting:
                self._waiting.popleft()
                self.statuses[-1] += 1  # refused: it was never accepted
            return
        if self._waiting:
            self._give(made, *self._waiting.popleft())
        else:
            self._idle.append(made)

    def _send(self, planned: float, body: int) -> None:
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closing:
                self._give(connection, planned, body)
                return
            self._open -= 1
        self._waiting.append((planned, body))
        self._connect_if_few()

    def _connect_if_few(self) -> None:
        if self._open < self._most:
            task = asyncio.ensure_future(self._connect(asyncio.get_running_loop()))
            TASKS.add(task)
            task.add_done_callback(TASKS.discard)

    def _give(self, connection: Connection, planned: float, body: int) -> None:
        connection.planned, connection.body = planned, body
        self.lateness.append(time.perf_counter() - planned)
        connection.transport.write(self._requests[body])

    def _done(self, connection: Connection, status: int, answer: bytes) -> None:
        now = time.perf_counter()
        self.statuses[status] += 1
        if status == 200:
            self.latencies.append(now - connection.planned)
            self.ended.append(now)
        if self.keep_answers:
            self.answers.append((connection.body, answer))
        connection.planned = 0.0
        if connection.is_closing:
            self._open -= 1
            if self._waiting:
                self._connect_if_few()
        elif self._waiting:
            self._give(connection, *self._waiting.popleft())
        else:
            self._idle.append(connection)


TASKS: set["asyncio.Future[None]"] = set()


def offer(
    port: int, bodies: Path, rate: float, seconds: float, *, path: str = "/v1/recommend", connections: int = 512
) -> Load:
    """Run a load in a process of its own. bodies: a file with a JSON body a line."""
    command = [sys.executable, "-m", "benchmarks.serve.load", str(port), str(bodies), str(rate), str(seconds), path,
               str(connections)]  # fmt: skip
    return Load(**json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout))


def run(generator: Generator, rate: float, seconds: float) -> Load:
    """Offer a load from this process."""
    import uvloop

    return uvloop.run(generator.run(rate, seconds))


def main() -> None:
    """Offer one load, and print what came of it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("port", type=int)
    parser.add_argument("bodies", type=Path)
    parser.add_argument("rate", type=float)
    parser.add_argument("seconds", type=float)
    parser.add_argument("path", nargs="?", default="/v1/recommend")
    parser.add_argument("connections", type=int, nargs="?", default=512)
    options = parser.parse_args()
    generator = Generator(options.port, options.path, options.bodies.read_bytes().splitlines(), options.connections)
    print(json.dumps(asdict(run(generator, options.rate, options.seconds))))


if __name__ == "__main__":
    main()
