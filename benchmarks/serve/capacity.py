"""How much load a server bears, beside the plain pattern (FastAPI, eager torch, flat FAISS; plain.py).

    python -m benchmarks.serve.capacity --items 10000 100000 --rounds 2

The servers take turns (A B, B A, ...), so that a busy machine is as busy for one as for the other. A turn first asks
for more than the server bears with 64 connections: what it answers then is its saturated throughput. Then constant
rates, as shares of that, are offered, and for each limit the highest rate is shown whose p99 stays under it and that is
answered in full. Requests for known users and requests with a history are measured apart.
"""

import argparse
import os
import sys
import time
from pathlib import Path

from benchmarks.serve import worlds
from benchmarks.serve.load import Load, offer
from benchmarks.serve.servers import Running, ours, plain, running

LIMITS = (10, 25, 50, 100)  # ms
SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
FEWEST = 200  # requests of a rate, or its p99 would be a guess
GUESS = {  # requests a second that are more than a server bears, and less than stop the generator itself
    ("ours", "users"): 3000.0, ("ours", "histories"): 1200.0, ("plain", "users"): 400.0, ("plain", "histories"): 400.0,
}  # fmt: skip
SETTLE = 30.0  # seconds after which the vectors of all known users have been computed
Figures = dict[str, float]


def measure(server: Running, bodies: Path, seconds: float, guess: float) -> tuple[Figures, list[Load]]:
    """Saturated throughput, and the highest rate for each limit."""
    offer(server.port, bodies, 50, 2)  # warm
    saturated = offer(server.port, bodies, guess, seconds, connections=64).answered
    loads = []
    for share in SHARES:
        rate = share * saturated
        loads.append(offer(server.port, bodies, rate, max(seconds, FEWEST / rate)))
    figures = {"saturated": saturated}
    for limit in LIMITS:
        good = [load.offered for load in loads if load.p99 < limit and set(load.statuses) == {"200"}]
        figures[f"p99 < {limit} ms"] = max(good, default=0.0)
    figures["lowest p99, ms"] = min(load.p99 for load in loads)
    return figures, loads


def main() -> None:
    """Print a table for each size and kind of request."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--out", type=Path, default=Path("/tmp/load-worlds"))
    parser.add_argument("--only", choices=("ours", "plain"))
    parser.add_argument("--kinds", nargs="+", default=["users", "histories"])
    options = parser.parse_args()
    for num_items in options.items:
        folder = options.out / str(num_items)
        worlds.make(folder, num_items)
        commands = {
            "ours": (ours(str(folder / "bundle"), "--events", str(folder / "events.parquet")), "/health/ready"),
            "plain": (plain(folder), "/openapi.json"),
        }
        rounds: dict[tuple[str, str], list[Figures]] = {}
        for number in range(options.rounds):
            for name in ("ours", "plain") if number % 2 == 0 else ("plain", "ours"):
                if options.only not in (None, name):
                    continue
                command, path = commands[name]
                with running(command, path) as server:
                    time.sleep(SETTLE if name == "ours" else 0)
                    for kind in options.kinds:
                        figures, loads = measure(server, folder / f"{kind}.jsonl", options.seconds, GUESS[name, kind])
                        rounds.setdefault((kind, name), []).append(figures)
                        print(num_items, kind, name, {key: round(value, 1) for key, value in figures.items()},
                              [round(load.p99, 1) for load in loads], "load", os.getloadavg()[0],
                              flush=True)  # fmt: skip
        report(num_items, rounds)


def report(num_items: int, rounds: dict[tuple[str, str], list[Figures]]) -> None:
    """The median of the rounds."""
    for (kind, name), figures in sorted(rounds.items()):
        middle = {key: sorted(one[key] for one in figures)[len(figures) // 2] for key in figures[0]}
        sys.stdout.write(f"{num_items} items, {kind}, {name}: ")
        sys.stdout.write(", ".join(f"{key} {value:.0f}" for key, value in middle.items()) + "\n")


if __name__ == "__main__":
    main()
