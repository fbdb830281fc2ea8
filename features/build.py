"""The feature job: raw tables to the dataset artifact.

The rows of the log stream into shards of users. Every shard is then processed three times: to clean its events, to
group, split and count them with the ids and cuts of all shards, and to encode them with what all counts together
decided. A shard sees nothing of another, so the bytes do not depend on the number of processes.
"""

import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial, reduce
from operator import add
from pathlib import Path
from typing import TypeVar

import numpy as np
import polars as pl

from recsys import files
from recsys.config import Config
from recsys.data import (
    BuildStatistics,
    Dataset,
    DatasetManifest,
    SplitCounts,
    input_error_if_full,
    require_outside,
    write_arrow,
)
from recsys.errors import InputError
from recsys.progress import track
from recsys.text_encoders import encoder_functions, import_functions

from .catalogue import Catalogue, Logged, fit_catalogue
from .draws import hold_out_items
from .engine import Map, OpenEngine, in_processes
from .inputs import (
    Fingerprint,
    dataset_digest,
    fingerprint_inputs,
    read_inputs,
    refuse_unused_settings,
    require_unchanged_inputs,
)
from .log import Log, clean_shard, unite_shards
from .quarantine import write_quarantine
from .shard import GroupedShard, ShardJob, encode_shard, group_shard, open_table

Result = TypeVar("Result")


def build(config: Config, out: Path, *, workers: int = 1, engine: OpenEngine | None = None) -> Dataset:
    """Write the dataset artifact of ``config`` to ``out`` and open it.

    Args:
        config: Names the inputs and how they are split and encoded.
        out: The dataset folder. A finished dataset of the same inputs and settings is reused.
        workers: Processes among which the shards are divided.
        engine: What the shards are given to instead of these processes.

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
    with input_error_if_full(out), files.replacing(out, directory=True) as folder:
        _write(config, fingerprint, folder, engine or in_processes(workers))
    return Dataset.open(out)


def made_from(config: Config, manifest: DatasetManifest, fingerprint: Fingerprint) -> bool:
    """Whether a dataset was made from these settings, and from the inputs of that fingerprint."""
    shards = config.data.shards or manifest.config.data.shards  # not those of this machine's memory
    return manifest.digest == dataset_digest(_with_shards(config, shards), fingerprint)


def _reuse(config: Config, out: Path, fingerprint: Fingerprint) -> Dataset:
    dataset = Dataset.open(out)
    if not made_from(config, dataset.manifest, fingerprint):
        raise InputError(f"{out} holds a dataset of other inputs or settings; choose another --out or remove it")
    dataset.encoder.with_functions(
        encoder_functions(import_functions(config.features.encoders))
    ).require_same_encoders()
    return dataset


def _write(config: Config, fingerprint: Fingerprint, folder: Path, open_engine: OpenEngine) -> None:
    """Write all files of a dataset to an empty folder, the manifest last."""
    interim = folder / "interim"
    for name in ("train", "catalogue", "validation", "test", "interim"):
        (folder / name).mkdir()
    with ExitStack() as stack:
        engine = stack.enter_context(open_engine(folder))
        inputs = read_inputs(config, interim, engine.partition)
        config, num_shards = _with_shards(config, inputs.plan.shards), inputs.plan.shards
        for_all = partial(_for_all_shards, stack.enter_context(engine.shard_map(inputs)))
        clean = partial(clean_shard, config.split, inputs.num_rows, interim)
        cleaned = for_all(clean, "cleaning shards", inputs.events, inputs.test or [None] * num_shards)
        log = unite_shards(config.split, inputs, list(cleaned))
        require_unchanged_inputs(config, fingerprint)
        write_quarantine(log.quarantine, folder / "quarantine.parquet")
        write_arrow(log.item_ids.to_frame(), folder / "catalogue" / "logged.arrow")
        group = partial(group_shard, _job(config, log, folder))
        grouped = _with_one_sum(for_all(group, "grouping shards", log.parts))
        counts = reduce(add, (shard.counts for shard in grouped))
        _require_usable(config, counts, log)
        catalogue = fit_catalogue(config, _logged(log, grouped), inputs.items, inputs.users)
        catalogue.write(folder)
        encode = partial(encode_shard, folder, catalogue.embedding_rows(log.item_ids))
        list(for_all(encode, "encoding shards", [shard.training for shard in grouped]))
    shutil.rmtree(interim)
    DatasetManifest(
        log=fingerprint.log,
        digest=dataset_digest(config, fingerprint),
        config=config,
        statistics=_statistics(log, counts, catalogue),
        encoder=catalogue.encoder.content_hash(),
    ).write(folder)


def _for_all_shards(
    shard_map: Map, function: Callable[..., Result], label: str, *made_of: Sequence[object]
) -> Iterator[Result]:
    """Call a function for every shard; yield the results in order, and then remove the files it was made of.

    Until then they stay, so that an engine can repeat a call whose process was lost.
    """
    results = shard_map(function, range(len(made_of[0])), *made_of)
    for result, *parts in zip(track(results, label, total=len(made_of[0])), *made_of, strict=True):
        for part in parts:
            for path in part if isinstance(part, tuple) else (part,):
                if isinstance(path, Path):
                    files.discard(path)
        yield result


def _with_shards(config: Config, shards: int | None) -> Config:
    return config.model_copy(update={"data": config.data.model_copy(update={"shards": shards})})


def _job(config: Config, log: Log, folder: Path) -> ShardJob:
    held_out_items = None
    if config.compares_texts:
        num_training = log.counts.events
        if log.cuts is not None:
            num_training = log.scan().select((pl.col("time") < log.cuts.val_start.item()).sum()).collect().item()
        held_out_items = hold_out_items(config.split, log.item_ids, num_training)
    return ShardJob(
        folder, config.split, config.data.min_user_events, config.asks_without_history, num_items=len(log.item_ids),
        needs_users=config.embeds_users or config.data.users is not None, cuts=log.cuts, held_out_items=held_out_items,
    )  # fmt: skip


def _with_one_sum(shards: Iterable[GroupedShard]) -> list[GroupedShard]:
    """The shards, all of whose item counts are the sum: arrays of each would grow with items times shards."""
    grouped: list[GroupedShard] = []
    for shard in shards:
        item_counts = grouped[0].item_counts if grouped else np.zeros_like(shard.item_counts)
        item_counts += shard.item_counts
        grouped.append(replace(shard, item_counts=item_counts))
    return grouped


def _logged(log: Log, grouped: Sequence[GroupedShard]) -> Logged:
    tables = [open_table(shard.users) for shard in grouped]
    users = tables[0] if len(tables) == 1 else pl.concat(tables).sort("user_id")
    return Logged(
        item_ids=log.item_ids,
        item_counts=grouped[0].item_counts,
        user_ids=users.get_column("user_id"),
        training_users=users.filter("in_training").get_column("user_id"),
    )


def _statistics(log: Log, counts: SplitCounts, catalogue: Catalogue) -> BuildStatistics:
    return BuildStatistics(
        **counts.model_dump(),
        log=log.counts,
        test=log.test_counts,
        items=catalogue.encoder.num_items,
        trained_items=catalogue.encoder.num_trained,
        item_metadata=catalogue.item_metadata,
        user_metadata=catalogue.user_metadata,
    )


def _require_usable(config: Config, counts: SplitCounts, log: Log) -> None:
    """Raise InputError if the split leaves nothing to train on, or no query."""
    remedy = {
        "leave_one_out": f"expected users with {max(3, config.data.min_user_events)} events or more; for users with a "
        'single event, such as pairs of a text and an item, set split.kind = "users" and data.min_user_events = 1',
        "users": "expected more users; for users with a single event, set data.min_user_events = 1 and name their "
        "columns in features.user",
        "given": "expected a test file with users of the events, and users with some training events",
    }.get(config.split.kind)
    if log.cuts is not None:
        first, last = log.cuts.first, log.cuts.last
        remedy = (
            f"expected cuts between {first} and {last}, and users with events before and after them: move "
            "split.val_start or split.test_start"
        )
    for name in ("training_events", "validation_queries", "test_queries"):
        if not getattr(counts, name):
            raise InputError(
                f'split "{config.split.kind}" leaves no {name.replace("_", " ")} of {log.num_events} events by '
                f"{counts.users} users; {remedy}"
            )
