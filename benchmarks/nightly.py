"""Five nights of examples/nightly.sh on a world with a clock, one of them with a broken log: who served, and why.

    python benchmarks/nightly.py --out DIR

Every night has the log up to that day; the third brings a log without item ids, the fifth one whose histories were
shuffled. Prints what the job said, its exit code, and in the end `recsys history`.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl

from recsys.synthetic import make_world

ROOT = Path(__file__).parents[1]
NAME = "nightly"
CONFIG = """\
[data]
events = "given by the job"
time = "timestamp"
items = "items.parquet"
[[features.item]]
name = "genre"
kind = "categorical"
[[features.item]]
name = "title"
kind = "text"
[split]
kind = "temporal"
val_start = "80%"
test_start = "90%"
[training]
epochs = 6
learning_rate = 3e-3
[gate]
required_gain = -0.05  # fresh data is worth a small loss
[registry]
name = "nightly"
"""
SHOWN = ("test ndcg", "pass", "FAIL", f"{NAME} version", "error", "users")


def logs(world: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """The log of every night."""
    world = world.sort("timestamp")
    until = {f"night-{night}": world.head(int(world.height * share)) for night, share in
             enumerate((0.6, 0.7, 0.8, 0.9, 1.0), start=1)}  # fmt: skip
    until["night-3"] = until["night-3"].rename({"item_id": "item"})
    items = until["night-5"]["item_id"].to_numpy()
    shuffled = np.random.default_rng(0).permutation(items)
    until["night-5"] = until["night-5"].with_columns(item_id=pl.Series(shuffled))
    return until


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    world = make_world(seed=0)
    world.items.write_parquet(out / "items.parquet")
    (out / "config.toml").write_text(CONFIG)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    for night, log in logs(world.events).items():
        log.write_parquet(out / f"{night}.parquet")
        command = ["sh", str(ROOT / "examples" / "nightly.sh"), "config.toml", f"{night}.parquet", NAME, night]
        job = subprocess.run(
            command, cwd=out, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False
        )
        print(f"== {night}: {log.height:,} events, exit code {job.returncode}")
        for line in (job.stdout + job.stderr).splitlines():
            if any(word in line for word in SHOWN):
                print(f"   {line}")
    print("== recsys history")
    subprocess.run(["recsys", "history", NAME], cwd=out, env=os.environ | {"PATH": path}, check=True)


if __name__ == "__main__":
    main()
