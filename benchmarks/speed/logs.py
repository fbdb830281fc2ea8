"""Synthetic event logs: Zipf items, log-normal users, a clock for all."""

from pathlib import Path

import numpy as np
import polars as pl

EVENTS_A_USER, EVENTS_AN_ITEM = 100, 100
MAX_ITEMS = 100_000
FIRST, AGAIN = 17, 4  # events of a user: items that nobody had before, and then items of the neighbourhood
NEIGHBOURHOOD = 2_000  # items from which a user takes all


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


def make_catalogue_log(path: Path, num_items: int, seed: int = 0) -> Path:
    """Write user_id, item_id and position, unless ``path`` is there: every item has an event, and few have many.

    The last two events of a user, which tests and validation take, are not the only ones of their items.
    """
    if path.exists():
        return path
    rng = np.random.default_rng(seed)
    users = np.arange(-(-num_items // FIRST), dtype=np.int32)
    own = (users[:, None] * FIRST + np.arange(FIRST, dtype=np.int32)) % num_items
    near = own[:, :1] + rng.integers(-NEIGHBOURHOOD // 2, NEIGHBOURHOOD // 2, (len(users), AGAIN), np.int32)
    items = np.concatenate([own, near % num_items], axis=1)
    path.parent.mkdir(parents=True, exist_ok=True)
    pl.DataFrame({
        "user_id": np.repeat(users, FIRST + AGAIN),
        "item_id": rng.permutation(num_items).astype(np.int32)[items.ravel()],
        "position": np.tile(np.arange(FIRST + AGAIN, dtype=np.int32), len(users)),
    }).write_parquet(path)  # fmt: skip
    return path
