"""The feature job: raw Parquet to the dataset artifact.

Every shard of users passes twice: once to group, split and count, once to encode with what the counts decided. Both
passes see one shard only, so one process or many, the same bytes.
"""

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import polars as pl

from recsys import files
from recsys.config import Config
from recsys.dataset import FORMAT, Dataset
from recsys.events import CleanLog, clean, scan_events
from recsys.schema import id_type, require_same_kind, source_files

from .catalogue import write_catalogue
from .metadata import read_metadata
from .shard import encode_shard, group_shard, partition
from .split import TEST, window_of

Result = TypeVar("Result")


def build(config: Config, out: Path, *, workers: int = 1) -> Dataset:
    """Write the dataset artifact of ``config`` to ``out`` and open it.

    A finished dataset of the same inputs is reused. Raises ValueError where ``out`` was built from others, or on bad
    input; then nothing is left at ``out``.
    """
    digest = inputs_digest(config)
    if (out / "manifest.json").is_file():
        existing = Dataset.open(out)
        if existing.digest != digest:
            raise ValueError(f"{out} holds a dataset of other inputs or settings; choose another --out or remove it")
        return existing
    with files.replacing(out, directory=True) as folder:
        _write(config, folder, digest, workers)
    return Dataset.open(out)


def inputs_digest(config: Config) -> str:
    """The fingerprint of everything a dataset depends on: the input files' bytes and the sections that shape it."""
    locations = (config.data.events, config.data.items, config.data.users, config.split.test)
    contents = [[files.sha256(path) for path in source_files(place)] if place else [] for place in locations]
    settings = config.model_dump(include={"features", "split"}) | {
        "data": config.data.model_dump(exclude={"events", "items", "users"})
    }
    settings["split"].pop("test")
    return files.digest(FORMAT, settings, contents)


def _write(config: Config, folder: Path, digest: str, workers: int) -> None:
    cleaned = _read_log(config)
    log = cleaned.log
    items = read_metadata(
        config.data.items, config.data.item_id, "item_id", log.schema["item_id"], config.features.item
    )
    users = read_metadata(
        config.data.users, config.data.user_id, "user_id", log.schema["user_id"], config.features.user
    )
    item_ids = log.get_column("item_id").unique().sort()
    for name in ("train", "catalogue", "validation", "test", "interim"):
        (folder / name).mkdir()
    cleaned.quarantine.write_parquet(folder / "quarantine.parquet")
    partition(log, folder / "interim", config.data.shards)

    shards = range(config.data.shards)
    counts = _map(partial(group_shard, folder, config, item_ids), shards, workers)
    item_counts = np.sum([count.item_counts for count in counts], axis=0)
    encoder = write_catalogue(config, folder, item_ids, item_counts, items, users, log)
    positions = encoder.positions(item_ids)
    positions = np.where(positions <= encoder.num_trained, positions, 0)
    _map(partial(encode_shard, folder, positions), shards, workers)
    (folder / "interim").rmdir()

    statistics = cleaned.counts | {key: sum(count.statistics[key] for count in counts) for key in counts[0].statistics}
    statistics |= {"items": encoder.num_items, "trained_items": encoder.num_trained}
    files.write_json(
        folder / "manifest.json",
        {"format": FORMAT, "digest": digest, "config": config.model_dump(), "statistics": statistics,
         "encoder": encoder.content_hash()},
    )  # fmt: skip


def _read_log(config: Config) -> CleanLog:
    """The clean log with its ``window``; a given test file follows the events, in window TEST."""
    events = scan_events(config.data.events, config.data.columns)
    cleaned = clean(events)
    log = window_of(config.split, cleaned.log.lazy())
    if config.split.kind != "given":
        return CleanLog(log.collect(), cleaned.quarantine, cleaned.counts)
    if config.split.test is None:
        raise ValueError("split 'given' needs split.test: the Parquet file of the test events")
    test = scan_events(config.split.test, config.data.columns, "test")
    for name in ("user_id", "item_id"):
        require_same_kind(id_type(test, name, "test"), cleaned.log.schema[name], name, "test", "events")
    held = clean(test)
    after = held.log.lazy().with_columns(
        (pl.col("row") + cleaned.counts["rows"]).cast(cleaned.log.schema["row"]),
        *(pl.col(name).cast(cleaned.log.schema[name]) for name in ("user_id", "item_id")),
        window=pl.lit(TEST, pl.UInt8),
    )
    both = pl.concat([log, after], how="diagonal").collect()
    counts = cleaned.counts | {f"test {key}": count for key, count in held.counts.items()}
    return CleanLog(both, pl.concat([cleaned.quarantine, held.quarantine]), counts)


def _map(function: Callable[[int], Result], shards: range, workers: int) -> list[Result]:
    if workers == 1:
        return [function(shard) for shard in shards]
    with ProcessPoolExecutor(min(workers, len(shards))) as pool:
        return list(pool.map(function, shards))
