"""Small data sets that several tests train on."""

import numpy as np
import polars as pl
import pytest

from features.build import build
from recsys.config import parse_config


@pytest.fixture
def build_dataset(tmp_path):
    """A function: frames and config sections to a built (config, dataset)."""

    def make(events, *, items=None, users=None, **sections):
        data = {"time": "time"} if "time" in events.columns else {}
        for name, frame in (("events", events), ("items", items), ("users", users)):
            if frame is not None:
                data[name] = str(tmp_path / f"{name}.parquet")
                frame.write_parquet(data[name])
        config = parse_config({"data": data | sections.pop("data", {}), **sections}, "test")
        return config, build(config, tmp_path / "dataset")

    return make


@pytest.fixture
def cyclic_events():
    """A log in which item i is always followed by item i + 1, around the clock: what comes next is known."""

    def make(num_users=120, num_items=40, seed=0):
        rng = np.random.default_rng(seed)
        lengths = rng.integers(5, 16, num_users)
        users = np.repeat(np.arange(num_users), lengths)
        times = np.concatenate([np.arange(length) for length in lengths])
        items = (np.repeat(rng.integers(0, num_items, num_users), lengths) + times) % num_items
        return pl.DataFrame({"user_id": users, "item_id": items, "time": times})

    return make
