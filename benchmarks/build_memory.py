"""The peak memory and time of the feature job, by the number of events and of shards, in turns.

The log is a folder of Parquet files with ids of text: Zipf items, log-normal users, 100 events for each user and item,
ordered by time, with ties. Every build runs in a process of its own. Memory is what that process held at most: all of
it (resident), and what is not pages of files (anonymous), as process_tree.py sees it.
"""

import argparse
import json
import resource
import shutil
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.process_tree import measure

IN_A_FILE = 2_000_000
PER_USER = PER_ITEM = 100
MAX_ITEMS = 1_000_000


def make_logs(folder: Path, num_events: int, seed: int = 0) -> Path:
    """Write a log, unless it is there; in bounded memory, file by file."""
    if folder.exists():
        return folder
    rng = np.random.default_rng(seed)
    activity = np.cumsum(rng.lognormal(size=num_events // PER_USER))
    activity /= activity[-1]
    num_items = min(MAX_ITEMS, num_events // PER_ITEM)
    items = rng.permutation(num_items).astype(np.int32)
    unfinished = folder.with_suffix(".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    for start in range(0, num_events, IN_A_FILE):
        count = min(IN_A_FILE, num_events - start)
        fame_rank = np.exp(rng.random(count) * np.log(num_items + 1)).astype(np.int64)
        drawn = rng.random(count)
        ascending, users = np.argsort(drawn), np.empty(count, np.int32)  # a search in order stays in the cache
        users[ascending] = np.searchsorted(activity, drawn[ascending])
        log = pl.DataFrame(
            {
                "user_id": users,
                "item_id": items[np.minimum(fame_rank, num_items) - 1],
                "timestamp": 1_600_000_000 + np.sort(rng.integers(start, start + count, count)) // 4,
            }
        )
        named = (pl.format(f"{name[0]}{{}}", name).alias(name) for name in ("user_id", "item_id"))
        log.with_columns(named).write_parquet(unfinished / f"events-{start // IN_A_FILE:05d}.parquet")
    return unfinished.rename(folder)


def build_once(events: Path, shards: int, out: Path) -> dict[str, float]:
    """Build a dataset in this process and tell what it took."""
    from features.build import build
    from recsys.config import parse_config

    split = {"kind": "temporal", "val_start": "70%", "test_start": "85%"}
    config = parse_config(
        {"data": {"events": str(events), "time": "timestamp", "shards": shards}, "split": split}, "benchmark"
    )
    wall, cpu = time.perf_counter(), time.process_time()
    build(config, out)
    return {
        "wall": time.perf_counter() - wall,
        "cpu": time.process_time() - cpu,
        "resident": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def slope(events: list[int], values: list[float]) -> float:
    """The exponent of the power law through the first and the last point."""
    return float(np.log(values[-1] / values[0]) / np.log(events[-1] / events[0]))


def main() -> None:
    """Print a line for each number of events and of shards, and the slopes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, nargs="+", default=[10_000_000, 30_000_000, 100_000_000])
    parser.add_argument("--shards", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--scratch", type=Path, required=True, help="a folder for logs and datasets")
    parser.add_argument("--build", type=Path, help="internal: build from this log, and print the figures")
    options = parser.parse_args()
    if options.build is not None:
        print(json.dumps(build_once(options.build, options.shards[0], options.scratch)))
        return
    print("| events | shards | wall s | CPU s | resident MiB | anonymous MiB |\n|---|---|---|---|---|---|")
    figures: dict[int, list[dict[str, float]]] = {shards: [] for shards in options.shards}
    for num_events in options.events:
        log = make_logs(options.scratch / f"log-{num_events}", num_events)
        for shards in options.shards:
            out = options.scratch / "dataset"
            shutil.rmtree(out, ignore_errors=True)
            command = [sys.executable, "-m", "benchmarks.build_memory", "--build", str(log), "--shards", str(shards)]
            measured = measure([*command, "--scratch", str(out)])
            if measured.code:
                sys.exit(measured.output)
            shutil.rmtree(out)
            row = json.loads(measured.output.splitlines()[-1]) | {"anonymous": measured.anonymous}
            figures[shards].append(row)
            numbers = (f"{row['wall']:.1f}", f"{row['cpu']:.1f}", f"{row['resident']:.0f}", f"{row['anonymous']:.0f}")
            print(f"| {num_events:,} | {shards} | {' | '.join(numbers)} |", flush=True)
    if len(options.events) > 1:
        for shards, rows in figures.items():
            slopes = {name: slope(options.events, [row[name] for row in rows]) for name in rows[0]}
            print(f"slopes with {shards} shards:", ", ".join(f"{name} {value:.2f}" for name, value in slopes.items()))


if __name__ == "__main__":
    main()
