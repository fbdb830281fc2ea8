"""SIGTERM under load: how many requests that were let in get no answer.

    python -m benchmarks.serve.stop --rounds 10

Clients keep their connections open, open new ones when the server ends them, and go on asking at a constant rate while
the server stops. A connection that is refused was never let in; one that ends without an answer is a dropped request.
"""

import argparse
import signal
import sys
import threading
from pathlib import Path

from benchmarks.serve import worlds
from benchmarks.serve.load import Generator, run
from benchmarks.serve.servers import ours, running

SECONDS = 4.0


def stop_once(folder: Path, rate: float, after: float) -> tuple[dict[str, int], int]:
    """Offer a load, end the server after so many seconds; returns the answers by status and the exit code."""
    command = ours(str(folder / "bundle"), "--cache", str(folder / "cache"))
    with running(command, "/health/ready") as server:
        bodies = (folder / "histories.jsonl").read_bytes().splitlines()
        generator = Generator(server.port, "/v1/recommend", bodies, 64)
        timer = threading.Timer(after, server.process.send_signal, [signal.SIGTERM])
        timer.start()
        statuses = run(generator, rate, SECONDS).statuses
        return statuses, server.process.wait(30)


def main() -> None:
    """Stop a server several times, and print what was dropped."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--rate", type=float, default=150.0)
    parser.add_argument("--out", type=Path, default=Path("/tmp/load-worlds"))
    options = parser.parse_args()
    folder = options.out / str(options.items)
    worlds.make(folder, options.items)
    dropped = codes = 0
    for number in range(options.rounds):
        statuses, code = stop_once(folder, options.rate, 1.0 + 0.037 * number)
        sys.stdout.write(f"stop {number}: {statuses} (-1: refused, 0: dropped), exit code {code}\n")
        sys.stdout.flush()
        dropped += statuses.get("0", 0)
        codes += code != 0
    sys.stdout.write(f"{options.rounds} stops: {dropped} requests dropped, {codes} exit codes other than 0\n")


if __name__ == "__main__":
    main()
