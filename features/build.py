"""The feature job: raw Parquet to the dataset artifact.

Every shard of users passes twice: once to group, split and count, once to encode with what the counts decided. Both
passes see one shard only, so one process or many, the same bytes.
"""

import multiprocessing
import os
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial, reduce
from operator import add
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from recsys import files
from recsys.config import Config, SplitConfig
from recsys.data import (
    FORMAT,
    BuildStatistics,
    CleanLog,
    Dataset,
    DatasetManifest,
    Int32,
    LogCounts,
    MetadataTable,
    SplitCounts,
    cast_ids,
    clean_events,
    factorize_ids,
    read_metadata,
    require_same_kind,
    scan_events,
    sort_events,
    source_digest,
    write_arrow,
)
from recsys.errors import InputError

from .catalogue import write_catalogue
from .shard import encode_shard, group_shard, partition
from .split import TEST, TRAINING, window_of


def build(config: Config, out: Path, *, workers: int = 1) -> Dataset:
    """Write the dataset artifact of ``config`` to ``out`` and open it.

    A finished dataset of the same inputs is reused. Raises InputError where ``out`` holds anything else, or on bad
    input; then nothing is left at ``out``. workers: processes over which the shards are spread.
    """
    if workers < 1:
        raise InputError(f"workers is {workers}; expected at least 1")
    _require_kind(config.split)
    marks = fingerprint(config)
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        existing = Dataset.open(out)
        if existing.digest != marks.digest:
            raise InputError(f"{out} holds a dataset of other inputs or settings; choose another --out or remove it")
        return existing
    cleaned, test = _read_log(config)
    data = config.data
    items = read_metadata(data.items, data.item_id, "item_id", cleaned.item_ids.dtype, config.features.item)
    users = read_metadata(data.users, data.user_id, "user_id", cleaned.user_ids.dtype, config.features.user)
    if data.title is not None and data.title not in items.table.columns:
        raise InputError(
            f"data.title is {data.title!r}; expected a column of data.items, which has {', '.join(items.table.columns)}"
        )
    with files.replacing(out, directory=True) as folder:
        _write(config, folder, marks, workers, cleaned, test, items, users)
    return Dataset.open(out)


@dataclass(frozen=True)
class Fingerprint:
    """What a dataset was built from.

    log: of the events and how they are split: datasets that agree in it train on the same events.
    digest: of everything that the dataset depends on.
    """

    log: str
    digest: str


def fingerprint(config: Config) -> Fingerprint:
    """Digest the files that a configuration names, and the settings that decide a dataset's content."""
    places = {"events": config.data.events, "test": config.split.test}
    places |= {"items": config.data.items, "users": config.data.users}
    found = {role: source_digest(place, role) if place else None for role, place in places.items()}
    data = config.data.model_dump(exclude={"events", "items", "users", "title"})
    split = config.split.model_dump(exclude={"test"})
    log = files.digest(config.data.columns, config.data.min_user_events, split, found["events"], found["test"])
    return Fingerprint(log, files.digest(FORMAT, data, config.features.model_dump(), split, list(found.values())))


def _require_kind(split: SplitConfig) -> None:
    """Raise InputError on a setting that another kind of split would read: silence would be another evaluation."""
    for name, kind in (("val_start", "temporal"), ("test_start", "temporal"), ("test", "given")):
        if getattr(split, name) is not None and split.kind != kind:
            raise InputError(
                f"split.{name} is set but split.kind is {split.kind!r}; expected {kind!r}: set it, or remove this"
            )


def _write(
    config: Config,
    folder: Path,
    marks: Fingerprint,
    workers: int,
    cleaned: CleanLog,
    test: LogCounts | None,
    items: MetadataTable,
    users: MetadataTable,
) -> None:
    log, user_ids, item_ids = cleaned.log, cleaned.user_ids, cleaned.item_ids
    for name in ("train", "catalogue", "validation", "test", "interim"):
        (folder / name).mkdir()
    cleaned.quarantine.write_parquet(folder / "quarantine.parquet")
    write_arrow(item_ids.to_frame(), folder / "catalogue" / "logged.arrow")
    write_arrow(user_ids.to_frame(), folder / "interim" / "users.arrow")
    parts = partition(log, user_ids, folder / "interim", config.data.shards)
    in_training = np.zeros(len(user_ids), bool)
    in_training[log.get_column("user_id").filter(log.get_column("window") == TRAINING).to_numpy()] = True

    shards = range(config.data.shards)
    with _processes(min(workers, len(shards))) as each:
        first = list(each(partial(group_shard, folder, config, len(item_ids)), shards, parts))
        counts = reduce(add, (shard.counts for shard in first))
        _require_usable(config, counts, log)
        item_counts = np.sum([shard.item_counts for shard in first], axis=0)
        catalogue = write_catalogue(
            config, folder, item_ids, item_counts, items, users, user_ids, user_ids.filter(in_training)
        )
        encoder = catalogue.encoder
        positions = encoder.positions(item_ids)
        trained = np.where(positions <= encoder.num_trained, positions, 0)
        list(each(partial(encode_shard, folder, trained), shards, [shard.training for shard in first]))
    shutil.rmtree(folder / "interim")

    statistics = BuildStatistics(
        **counts.model_dump(),
        log=cleaned.counts,
        test=test,
        items=encoder.num_items,
        trained_items=encoder.num_trained,
        item_metadata=catalogue.item_counts,
        user_metadata=catalogue.user_counts,
    )
    DatasetManifest(
        log=marks.log, digest=marks.digest, config=config, statistics=statistics, encoder=encoder.content_hash()
    ).write(folder)


def _read_log(config: Config) -> tuple[CleanLog, LogCounts | None]:
    """The clean log with its ``window``; a given test file follows the events, in window TEST."""
    cleaned = clean_events(scan_events(config.data.events, config.data.columns))
    cleaned = replace(cleaned, log=window_of(config.split, cleaned.log))
    if config.split.kind != "given":
        return cleaned, None
    if config.split.test is None:
        raise InputError('split "given" needs split.test: the Parquet file of the test events')
    test = scan_events(config.split.test, config.data.columns, "test")
    known = {"user_id": cleaned.user_ids.dtype, "item_id": cleaned.item_ids.dtype}
    for name, dtype in test.collect_schema().items():
        require_same_kind(dtype, (cleaned.log.schema | known)[name], name, "test", "events")
    cleaned_test = clean_events(test)
    return _followed(cleaned, cleaned_test), cleaned_test.counts


def _followed(log: CleanLog, test: CleanLog) -> CleanLog:
    """The log and then the test file, in window TEST."""
    user_ids, *users = _united(log.user_ids, test.user_ids)
    item_ids, *items = _united(log.item_ids, test.item_ids)
    later = test.log.with_columns(row=pl.col("row") + log.counts.rows, window=pl.lit(TEST, pl.UInt8))
    columns = pl.concat([
        part.with_columns(user_id=pl.Series(user[part.get_column("user_id")]),
                          item_id=pl.Series(item[part.get_column("item_id")]))
        for part, user, item in zip((log.log, later), users, items, strict=True)
    ], how="vertical_relaxed").to_dict()  # fmt: skip
    quarantine = pl.concat([
        log.quarantine.with_columns(source=pl.lit("events")), test.quarantine.with_columns(source=pl.lit("test"))
    ], how="vertical_relaxed")  # fmt: skip
    return CleanLog(sort_events(columns), user_ids, item_ids, quarantine, log.counts)


def _united(first: pl.Series, then: pl.Series) -> tuple[pl.Series, Int32, Int32]:
    """The distinct ids of both, sorted, and the row among them of each id of either."""
    both, rows = factorize_ids(pl.concat([first, cast_ids(then, first.dtype, "test")]))
    return both, rows[: len(first)], rows[len(first) :]


def _require_usable(config: Config, counts: SplitCounts, log: pl.DataFrame) -> None:
    """Raise InputError where the split leaves nothing to train on or to ask."""
    remedy = {
        "leave_one_out": f"expected users with {max(3, config.data.min_user_events)} events or more",
        "given": "expected a test file with users of the events, and users with some training events",
    }.get(config.split.kind)
    if remedy is None:
        first, last = log.select(pl.col("time").min().alias("first"), pl.col("time").max().alias("last")).row(0)
        remedy = (
            f"expected cuts between {first} and {last}, and users with events before and after them: move "
            "split.val_start or split.test_start"
        )
    for name in ("training_events", "validation_queries", "test_queries"):
        if not getattr(counts, name):
            raise InputError(
                f'split "{config.split.kind}" leaves no {name.replace("_", " ")} of {log.height} events by '
                f"{counts.users} users; {remedy}"
            )


@contextmanager
def _processes(workers: int) -> Iterator[Callable[..., Iterable[Any]]]:
    """A ``map`` over that many processes. They are spawned: Polars' threads don't survive a fork."""
    if workers == 1:
        yield map
        return
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _end_with_parent) as pool:
        yield pool.map


def _end_with_parent() -> None:
    """Let no worker outlive a killed build: it would go on writing where the next one writes."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
