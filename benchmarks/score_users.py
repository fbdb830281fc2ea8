"""Memory and speed of batch scoring: synthetic users by the million against a bundle.

    python benchmarks/score_users.py --bundle run/bundle --users 2000000 --events-per-user 10 --out DIR

Writes a log of the bundle's own items with as many users, scores it with `recsys score` in a process of its own and
prints that process's peak memory, users a second, and a count of what was written.
"""

import argparse
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl

from recsys.retriever import Retriever
from recsys.synthetic import make_log


def write_log(bundle: str, users: int, events_per_user: int, path: Path) -> None:
    encoder = Retriever.load(bundle).bundle.encoder
    log = make_log(seed=0, num_users=users, num_items=encoder.num_items, num_events=users * events_per_user)
    positions = log["item_id"].to_numpy() - log["item_id"].min() + 1
    columns = {name: encoder.columns[name] or name for name in ("user_id", "item_id", "time")}
    log.select(
        pl.col("user_id").alias(columns["user_id"]),
        encoder.ids(positions.astype(np.int64)).alias(columns["item_id"]),
        pl.col("timestamp").alias(columns["time"]),
    ).write_parquet(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", required=True)
    parser.add_argument("--users", type=int, default=2_000_000)
    parser.add_argument("--events-per-user", type=int, default=10)
    parser.add_argument("--k", type=int, default=100)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    log = arguments.out / "log.parquet"
    if not log.exists():
        write_log(arguments.bundle, arguments.users, arguments.events_per_user, log)
    started = time.perf_counter()
    command = [sys.executable, "-m", "recsys.cli", "score", "--bundle", arguments.bundle, "--events", str(log),
               "--k", str(arguments.k), "--out", str(arguments.out / "recs")]  # fmt: skip
    subprocess.run(command, check=True)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    parts = pl.scan_parquet(arguments.out / "recs" / "part-*.parquet")
    users, rows = parts.select(pl.col("user_id").n_unique(), pl.len()).collect().row(0)
    print(f"{users:,} users, {rows:,} recommendations in {seconds:.0f} s ({users / seconds:,.0f} users/s)")
    print(f"peak memory of the scoring process {peak:.2f} GiB")


if __name__ == "__main__":
    main()
