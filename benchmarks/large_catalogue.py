"""A catalogue of millions from the log to a registered version, each stage in a process of its own.

    python benchmarks/large_catalogue.py --items 10000000 --out DIR

Writes a log in which every item has an event that is trained on, builds, trains one member of 64 dimensions for an
epoch, publishes and evaluates, and prints the seconds and the peak memory of every stage. Started again, it continues
after the last stage that ended.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl

FIRST, AGAIN = 17, 4  # events of a user: items that nobody had before, and then items of the neighbourhood
NEIGHBOURHOOD = 2_000  # items from which a user takes all
USERS_AT_ONCE = 1 << 18
CONFIG = """
[data]
events = "events.parquet"
time = "position"
catalogue = "events"

[model]
embedding_dim = 64
num_members = 1
max_history = 50

[training]
epochs = 1
refit = false
"""
STAGES = {
    "build": ("--config", "config.toml", "--out", "dataset"),
    "train": ("--config", "config.toml", "--dataset", "dataset", "--out", "run"),
    "publish": ("--run", "run", "--registry", "sqlite:///registry.db"),
}


def write_log(path: Path, num_items: int) -> None:
    """Users in the order of the catalogue's neighbourhoods; their last two events are for validation and test."""
    rng = np.random.default_rng(0)
    ids = rng.permutation(num_items).astype(np.int32)
    num_users = -(-num_items // FIRST)
    path.mkdir(exist_ok=True)
    for part, start in enumerate(range(0, num_users, USERS_AT_ONCE)):
        users = np.arange(start, min(start + USERS_AT_ONCE, num_users))
        own = (users[:, None] * FIRST + np.arange(FIRST)) % num_items
        near = own[:, :1] + rng.integers(-NEIGHBOURHOOD // 2, NEIGHBOURHOOD // 2, (len(users), AGAIN))
        items = np.concatenate([own, near % num_items], axis=1)
        pl.DataFrame({
            "user_id": np.repeat(users, FIRST + AGAIN),
            "item_id": ids[items.ravel()],
            "position": np.tile(np.arange(FIRST + AGAIN), len(users)),
        }).write_parquet(path / f"part-{part:05d}.parquet")  # fmt: skip


def run_stage(name: str, folder: Path) -> dict[str, float]:
    """Run one command in a process of its own, and measure it."""
    started = time.perf_counter()
    program = (
        "import json, resource, sys; from recsys.cli import main\n"
        "try: main()\n"
        "finally: print(json.dumps(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss), file=open('peak.json', 'w'))"
    )
    subprocess.run([sys.executable, "-c", program, name, *STAGES[name]], check=True, cwd=folder)
    peak = json.loads((folder / "peak.json").read_text())
    return {"seconds": time.perf_counter() - started, "peak_gib": peak / 2**20}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=10_000_000)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    folder = arguments.out
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.toml").write_text(CONFIG.replace("events.parquet", "events"))
    figures_path = folder / "figures.json"
    figures = json.loads(figures_path.read_text()) if figures_path.exists() else {}
    if not figures:
        write_log(folder / "events", arguments.items)
    for name in STAGES:
        if name not in figures:
            figures[name] = run_stage(name, folder)
            figures_path.write_text(json.dumps(figures))
        print(f"{name}: {figures[name]['seconds']:,.0f} s, peak {figures[name]['peak_gib']:.1f} GiB")


if __name__ == "__main__":
    main()
