"""Logs and metadata for tests of the feature job, and how to look at what it made."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from recsys.config import Config, parse_config
from recsys.data.dataset import Dataset

ITEM_FEATURES = [{"name": "genre", "kind": "categorical"}, {"name": "tags", "kind": "multi_categorical"},
                 {"name": "price", "kind": "numeric"}, {"name": "title", "kind": "text"},
                 {"name": "picture", "kind": "vector"}]  # fmt: skip


USER_FEATURES = [{"name": "age", "kind": "numeric"}]


def random_log(seed: int = 0, users: int = 40, num_events: int = 400) -> pl.DataFrame:
    draw = np.random.default_rng(seed)
    return pl.DataFrame({
        "user_id": draw.integers(0, users, num_events),
        "item_id": draw.integers(0, 30, num_events),
        "timestamp": draw.integers(0, 300, num_events),  # ties
    })  # fmt: skip


def metadata(num_items: int = 35) -> pl.DataFrame:
    """Items 30 to 34 never occur."""
    ids = range(num_items)
    return pl.DataFrame({
        "item_id": ids,
        "genre": [f"genre {item % 4}" for item in ids],
        "tags": [[f"tag {item % 3}", f"tag {item % 5}"][: item % 3] if item % 7 else None for item in ids],
        "price": [float(item) if item % 6 else float("nan") for item in ids],
        "title": [f"The title of {item}" if item % 4 else None for item in ids],
        "picture": [[item / 7, 1.0] if item % 9 else None for item in ids],
    })  # fmt: skip


def config_of(folder: Path, log: pl.DataFrame, sections: dict[str, Any] | None = None, **data: Any) -> Config:
    folder.mkdir(exist_ok=True)
    log.write_parquet(folder / "events.parquet")
    tree: dict[str, Any] = {"data": {"events": str(folder / "events.parquet"), "time": "timestamp", **data}}
    return parse_config({key: value for key, value in (tree | (sections or {})).items() if value}, "test")


def with_metadata(folder: Path, log: pl.DataFrame, sections: dict[str, Any] | None = None, **data: Any) -> Config:
    folder.mkdir(exist_ok=True)
    metadata().write_parquet(folder / "items.parquet")
    pl.DataFrame({"user_id": [1, 2, 3, 99], "age": [30, None, 50, 1]}).write_parquet(folder / "users.parquet")
    paths = {name: str(folder / f"{name}.parquet") for name in ("items", "users")}
    features = {"features": {"item": ITEM_FEATURES, "user": USER_FEATURES}}
    return config_of(folder, log, features | (sections or {}), **paths, **data)


def contents(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def histories(dataset: Dataset) -> dict[Any, list[Any]]:
    users, parts = dataset.train()
    rows = parts.whole()
    return {user: dataset.encoder.ids(rows[place]).to_list() for place, user in enumerate(users)}


TEMPORAL = {"split": {"kind": "temporal", "val_start": 200, "test_start": 250}}
