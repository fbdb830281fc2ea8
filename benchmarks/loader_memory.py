"""What training holds of a dataset of many shards, and what a batch costs where the histories are not in memory yet.

    python -m benchmarks.loader_memory DATASET --batches 500

Makes the loader of a training and takes the first batches of an epoch, without a model: once with the files of the
dataset in the page cache, once without. Memory is what the process holds that is not pages of files. The second line
needs the right to drop the page cache (root).
"""

import argparse
import json
import os
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path

from benchmarks.process_tree import MIB, held, measure

DROP = Path("/proc/sys/vm/drop_caches")


def take_batches(dataset: Path, num_batches: int) -> dict[str, float]:
    from recsys.data import Dataset
    from training.batches import make_loader
    from training.description import TrainingDescription

    opened = Dataset.open(dataset)
    before, start = held(os.getpid())[1], time.perf_counter()
    loader = make_loader(TrainingDescription.of(opened.config, opened))
    made, epoch = time.perf_counter(), loader.epoch(1)
    begun = time.perf_counter()
    tokens = sum(len(step.labels) for step in islice(epoch, num_batches))
    seconds = time.perf_counter() - begun
    return {
        "users": len(loader.histories), "events": loader.histories.num_values, "before": before / MIB,
        "open": made - start, "shuffle": begun - made, "batch": seconds / min(num_batches, len(epoch)),
        "tokens": tokens / seconds,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--batches", type=int, default=500)
    parser.add_argument("--once", action="store_true", help="internal: in this process")
    options = parser.parse_args()
    if options.once:
        print(json.dumps(take_batches(options.dataset, options.batches)))
        return
    print("| files | users | events | MiB before | MiB at most | make, s | shuffle, s | ms a batch | tokens/s |")
    print("|---|---|---|---|---|---|---|---|---|")
    for files in ("in the page cache", "cold"):
        if files == "cold":
            subprocess.run(["sync"], check=True)
            DROP.write_text("1\n")
        command = [sys.executable, "-m", "benchmarks.loader_memory", str(options.dataset), "--once"]
        measured = measure([*command, "--batches", str(options.batches)])
        if measured.code:
            sys.exit(measured.output)
        row = json.loads(measured.output.splitlines()[-1])
        print(
            f"| {files} | {row['users']:,} | {row['events']:,} | {row['before']:.0f} | {measured.anonymous:.0f} | "
            f"{row['open']:.1f} | {row['shuffle']:.1f} | {row['batch'] * 1e3:.1f} | {row['tokens']:,.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
