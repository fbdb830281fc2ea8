"""The feature job: raw tables to the dataset artifact.

Every shard of users is processed twice: first to group, split and count its events, then to encode them with what all
counts together decided. A shard sees nothing of another, so the bytes do not depend on the number of processes.
"""

import shutil
from functools import partial, reduce
from operator import add
from pathlib import Path

import numpy as np
import polars as pl

from recsys import files
from recsys.config import Config
from recsys.data import BuildStatistics, CleanLog, Dataset, DatasetManifest, SplitCounts, require_outside, write_arrow
from recsys.errors import InputError
from recsys.progress import track
from recsys.text_encoders import encoder_functions, import_functions

from .catalogue import Catalogue, fit_catalogue
from .draws import hold_out_items
from .inputs import (
    Fingerprint,
    Inputs,
    fingerprint_inputs,
    read_inputs,
    refuse_unused_settings,
    require_unchanged_inputs,
)
from .shard import ShardJob, encode_shard, group_shard, partition_log
from .windows import TRAINING
from .workers import process_map


def build(config: Config, out: Path, *, workers: int = 1) -> Dataset:
    """Write the dataset artifact of ``config`` to ``out`` and open it.

    Args:
        config: Names the inputs and how they are split and encoded.
        out: The dataset folder. A finished dataset of the same inputs and settings is reused.
        workers: Processes among which the shards are divided.

    Raises:
        InputError: ``out`` holds anything else, or an input is bad. Then nothing is left at ``out``.
    """
    if workers < 1:
        raise InputError(f"workers is {workers}; expected at least 1")
    refuse_unused_settings(config.split)
    require_outside(out, events=config.data.events, items=config.data.items, users=config.data.users)
    fingerprint = fingerprint_inputs(config)
    if not files.is_vacant(out):
        return _reuse(config, out, fingerprint)
    inputs = read_inputs(config)
    require_unchanged_inputs(config, fingerprint)
    with files.replacing(out, directory=True) as folder:
        _write(config, inputs, fingerprint, folder, workers)
    return Dataset.open(out)


def _reuse(config: Config, out: Path, fingerprint: Fingerprint) -> Dataset:
    dataset = Dataset.open(out)
    if dataset.digest != fingerprint.digest:
        raise InputError(f"{out} holds a dataset of other inputs or settings; choose another --out or remove it")
    dataset.encoder.with_functions(
        encoder_functions(import_functions(config.features.encoders))
    ).require_same_encoders()
    return dataset


def _write(config: Config, inputs: Inputs, fingerprint: Fingerprint, folder: Path, workers: int) -> None:
    """Write all files of a dataset to an empty folder, the manifest last."""
    _write_log(inputs.log, folder)
    item_ids, shards = inputs.log.item_ids, range(config.data.shards)
    num_training = int((inputs.log.log.get_column("window") == TRAINING).sum())
    parts = partition_log(inputs.log, folder / "interim", len(shards))
    job = ShardJob(
        folder, config.split, config.data.min_user_events, config.asks_without_history, num_items=len(item_ids),
        held_out_items=hold_out_items(config.split, item_ids, num_training) if config.compares_texts else None,
    )  # fmt: skip
    with process_map(min(workers, len(shards))) as map_shards:
        grouping = map_shards(partial(group_shard, job), shards, parts)
        grouped = list(track(grouping, "grouping shards", total=len(shards)))
        counts = reduce(add, (shard.counts for shard in grouped))
        _require_usable(config, counts, inputs.log.log)
        catalogue = fit_catalogue(config, inputs, np.sum([shard.item_counts for shard in grouped], axis=0))
        catalogue.write(folder)
        embedding_rows = catalogue.embedding_rows(item_ids)
        encoding = map_shards(
            partial(encode_shard, folder, embedding_rows), shards, [shard.training for shard in grouped]
        )
        list(track(encoding, "encoding shards", total=len(shards)))
    shutil.rmtree(folder / "interim")
    DatasetManifest(
        log=fingerprint.log,
        digest=fingerprint.digest,
        config=config,
        statistics=_statistics(inputs, counts, catalogue),
        encoder=catalogue.encoder.content_hash(),
    ).write(folder)


def _write_log(log: CleanLog, folder: Path) -> None:
    """Write what the log says without being split: rejected rows, and the ids that its codes stand for."""
    for name in ("train", "catalogue", "validation", "test", "interim"):
        (folder / name).mkdir()
    log.quarantine.write_parquet(folder / "quarantine.parquet")
    write_arrow(log.item_ids.to_frame(), folder / "catalogue" / "logged.arrow")
    write_arrow(log.user_ids.to_frame(), folder / "interim" / "users.arrow")


def _statistics(inputs: Inputs, counts: SplitCounts, catalogue: Catalogue) -> BuildStatistics:
    return BuildStatistics(
        **counts.model_dump(),
        log=inputs.log.counts,
        test=inputs.test_counts,
        items=catalogue.encoder.num_items,
        trained_items=catalogue.encoder.num_trained,
        item_metadata=catalogue.item_metadata,
        user_metadata=catalogue.user_metadata,
    )


def _require_usable(config: Config, counts: SplitCounts, log: pl.DataFrame) -> None:
    """Raise InputError if the split leaves nothing to train on, or no query."""
    remedy = {
        "leave_one_out": f"expected users with {max(3, config.data.min_user_events)} events or more; for users with a "
        'single event, such as pairs of a text and an item, set split.kind = "users" and data.min_user_events = 1',
        "users": "expected more users; for users with a single event, set data.min_user_events = 1 and name their "
        "columns in features.user",
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
