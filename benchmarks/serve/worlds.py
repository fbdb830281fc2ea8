"""What both servers serve: a bundle of random weights with the default recipe's two members, a log, and requests."""

import json
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.speed.query import world
from recsys.bundle import save_bundle

USERS, SEED, K = 5_000, 0, 10
MEAN_LENGTH, LONGEST = 40, 100  # items of a history


def make(folder: Path, num_items: int) -> None:
    """Write bundle, events.parquet, users.jsonl (known users) and histories.jsonl (the same as histories) once."""
    if (folder / "histories.jsonl").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    bundle, _ = world(num_items, num_members=2)
    save_bundle(bundle, folder / "bundle")
    rng = np.random.default_rng(SEED)
    lengths = np.clip(rng.geometric(1 / MEAN_LENGTH, USERS), 1, LONGEST)
    ids = bundle.encoder.item_ids
    histories = [ids.gather(rng.choice(num_items, length, replace=False)).to_list() for length in lengths]
    users = np.repeat(np.arange(USERS), lengths)
    pl.DataFrame({
        "user_id": users, "item_id": [one for history in histories for one in history], "time": np.arange(len(users)),
    }).write_parquet(folder / "events.parquet")  # fmt: skip
    lines = {
        "users": [{"user_id": user, "k": K} for user in range(USERS)],
        "histories": [{"history": history, "k": K} for history in histories],
    }
    for name, bodies in lines.items():
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, bodies)))
