"""Synthetic event logs: Zipf items, log-normal users, a clock for all."""

from pathlib import Path

import numpy as np
import polars as pl

EVENTS_A_USER, EVENTS_AN_ITEM = 100, 100
MAX_ITEMS = 100_000


def make_log(path: Path, num_events: int, *, ordered: bool, strings: bool, seed: int = 0) -> Path:
    """Write user_id, item_id and timestamp, unless ``path`` is there; by time or shuffled, ids of either kind."""
    if path.exists():
        return path
    rng = np.random.default_rng(seed)
    num_users, num_items = num_events // EVENTS_A_USER, min(MAX_ITEMS, num_events // EVENTS_AN_ITEM)
    lengths = rng.lognormal(size=num_users)
    lengths = np.maximum(3, lengths * num_events / lengths.sum()).astype(np.int64)
    users = np.repeat(np.arange(num_users, dtype=np.int32), lengths)
    share = 1 / np.arange(1, num_items + 1) ** 0.9
    items = np.searchsorted(np.cumsum(share / share.sum()), rng.random(len(users), np.float32)).astype(np.int32)
    items = rng.permutation(num_items).astype(np.int32)[items.clip(max=num_items - 1)]
    time = 1_600_000_000 + rng.permutation(len(users)).astype(np.int64)  # no two at once: all tools see one order
    order = np.argsort(time) if ordered else rng.permutation(len(users))
    log = pl.DataFrame({"user_id": users[order], "item_id": items[order], "timestamp": time[order]})
    if strings:
        named = (pl.format(f"{name[0]}{{}}", pl.col(name)).alias(name) for name in ("user_id", "item_id"))
        log = log.with_columns(named)
    path.parent.mkdir(parents=True, exist_ok=True)
    log.write_parquet(path)
    return path
