"""Five times as many requests as the service bears: how much it still answers, and how the rest is refused.

    python -m benchmarks.serve.overload --items 10000 --seconds 60

First the peak, and again at the end, since a busy machine changes: what is answered when 64 connections ask as fast as
they are answered. Between them a constant rate of five times that, over as many connections as it takes. Whatever is
neither answered (200) nor refused (503) is an error.
"""

import argparse
import os
import sys
import threading
from pathlib import Path

from benchmarks.serve import worlds
from benchmarks.serve.load import Load, offer
from benchmarks.serve.servers import Running, ours, running

TIMES, CONNECTIONS = 5, 4_096


def peak(server: Running, bodies: Path, guess: float) -> float:
    """What is answered a second while 64 connections ask as fast as they are answered."""
    return offer(server.port, bodies, guess, 5, connections=64).answered


def watched(server: Running, bodies: Path, rate: float, seconds: float) -> tuple[Load, float, float]:
    """Offer a load; returns what came of it, the largest resident memory meanwhile, and the CPU seconds it took."""
    largest, ended, before = [server.rss_mib()], threading.Event(), server.cpu_seconds()

    def watch() -> None:
        while not ended.wait(0.2):
            largest.append(server.rss_mib())

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        load = offer(server.port, bodies, rate, seconds, connections=CONNECTIONS)
    finally:
        ended.set()
        watching.join()
    return load, max(largest), server.cpu_seconds() - before


def main() -> None:
    """Find the peak, offer five times that, and print both."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--guess", type=float, default=1_500.0, help="more requests a second than it bears")
    parser.add_argument("--kind", choices=("users", "histories"), default="histories")
    parser.add_argument("--out", type=Path, default=Path("/tmp/load-worlds"))
    options = parser.parse_args()
    folder = options.out / str(options.items)
    worlds.make(folder, options.items)
    bodies = folder / f"{options.kind}.jsonl"
    flags = ("--events", str(folder / "events.parquet")) if options.kind == "users" else ()
    command = ours(str(folder / "bundle"), "--cache", str(folder / "cache"), *flags)
    with running(command, "/health/ready") as server:
        offer(server.port, bodies, 50, 2)  # warm
        peaks, before = [peak(server, bodies, options.guess) for _ in range(2)], server.rss_mib()
        load, largest, cpu = watched(server, bodies, TIMES * max(peaks), options.seconds)
        peaks += [peak(server, bodies, options.guess) for _ in range(2)]
        mean = sum(peaks) / len(peaks)
        total = sum(load.statuses.values())
        errors = total - load.statuses.get("200", 0) - load.statuses.get("503", 0)
        sys.stdout.write(
            f"peak {', '.join(f'{one:.0f}' for one in peaks)} a second; offered {load.offered:.0f} for "
            f"{options.seconds:.0f} s: answered {load.answered:.0f} ({load.answered / mean:.2f} of the mean peak), "
            f"p50 {load.p50:.0f} ms, p99 {load.p99:.0f} ms; 503: {load.statuses.get('503', 0) / total:.3f} of "
            f"{total:,}; other errors: {errors}; resident MiB {before:.0f} before, {largest:.0f} at most, "
            f"{server.rss_mib():.0f} after; {cpu:.1f} s of CPU; load {os.getloadavg()[0]:.1f}\n"
        )


if __name__ == "__main__":
    main()
