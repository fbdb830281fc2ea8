"""What a dataset is built from: the log, opened and partitioned, the metadata, read, and the fingerprint of both."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from recsys import files
from recsys.config import Config, DataConfig, SplitConfig
from recsys.data import (
    FORMAT,
    Identity,
    MetadataTable,
    input_error_if_unreadable,
    name_events,
    open_events,
    read_metadata,
    require_same_kind,
    require_unchanged,
    source_digest,
    source_identities,
)
from recsys.errors import InputError
from recsys.text_encoders import encoder_version

from .partition import OpenLog, Partition, Rows, count_rows, partition_rows
from .plan import Plan, plan_shards

_LATER_KEYS = {"id_type", "time_format", "decimal"}
_LATER_SPLIT_KEYS = {"test_share"}


@dataclass(frozen=True)
class Fingerprint:
    """Digests of inputs.

    Attributes:
        log: Of the events and of how they are split: datasets that agree in it train on the same events.
        sources: Of the files, by what they hold.
        identities: What tells that the files are the same ones, likewise.
    """

    log: str
    sources: dict[str, str]
    identities: dict[str, list[Identity]]


@dataclass(frozen=True)
class Inputs:
    """The tables behind a dataset.

    Attributes:
        events, test: The rows of each shard of the log, and of the test file of a "given" split; None in any other.
        num_rows, num_test_rows: How many the files announced.
        items, users: The metadata.
        plan: How many shards there are, and why.
    """

    events: list[Rows]
    test: list[Rows] | None
    num_rows: int
    num_test_rows: int
    items: MetadataTable
    users: MetadataTable
    plan: Plan

    def workers(self, wanted: int) -> int:
        """How many processes work on the shards: as many as wanted, or as memory allows."""
        if self.plan.shards == 1:
            return self.plan.workers(wanted, self.num_rows + self.num_test_rows)
        sources = [self.events] if self.test is None else [self.events, self.test]
        return self.plan.workers(wanted, max(count_rows(*shard) for shard in zip(*sources, strict=True)))


def fingerprint_inputs(config: Config) -> Fingerprint:
    """Digest the files that a configuration names."""
    identities = {role: source_identities(location, role) for role, location in _locations(config).items()}
    sources = {role: source_digest(location, role) for role, location in _locations(config).items()}
    log = files.digest(
        config.data.columns | _changed(config.data, _LATER_KEYS), config.data.min_user_events, _split_settings(config),
        sources.get("events"), sources.get("test"),
    )  # fmt: skip
    return Fingerprint(log, sources, identities)


def dataset_digest(config: Config, fingerprint: Fingerprint) -> str:
    """The digest of everything that a dataset depends on. config: with its number of shards."""
    unread = {"events", "items", "users", "title", "memory"}
    data = config.data.model_dump(exclude=unread | _LATER_KEYS) | _changed(config.data, _LATER_KEYS)
    digests = [fingerprint.sources.get(role) for role in ("events", "test", "items", "users")]
    encoders = [encoder_version(name) for name in config.features.encoders]
    return files.digest(
        FORMAT, data, config.features.model_dump(), _split_settings(config), digests, *([encoders] if encoders else [])
    )


def _split_settings(config: Config) -> dict[str, object]:
    return config.split.model_dump(exclude={"test"} | _LATER_SPLIT_KEYS) | _changed(config.split, _LATER_SPLIT_KEYS)


def _changed(section: DataConfig | SplitConfig, keys: set[str]) -> dict[str, object]:
    """Keys that came later count only where they are set, so that the digest of an earlier dataset stays what it is."""
    return section.model_dump(include=keys, exclude_defaults=True)


def _locations(config: Config) -> dict[str, str]:
    """Where the tables are, by what they are."""
    locations = {"events": config.data.events, "test": config.split.test}
    locations |= {"items": config.data.items, "users": config.data.users}
    return {role: location for role, location in locations.items() if location is not None}


def require_unchanged_inputs(config: Config, fingerprint: Fingerprint) -> None:
    """Raise InputError if a file is no longer what it was when ``fingerprint`` was taken, or was another meanwhile."""
    for role, location in _locations(config).items():
        require_unchanged(location, role, fingerprint.sources[role])
        if source_identities(location, role) != fingerprint.identities[role]:
            raise InputError(f"{role} at {location} was touched while it was read; expected files at rest: run again")


def read_inputs(config: Config, folder: Path, partition: Partition = partition_rows) -> Inputs:
    """Open the log and its test file, read the metadata, and partition the rows of the log.

    Args:
        config: Names the files.
        folder: Gets the rows of the shards if there are several.
        partition: Partitions a log.

    Raises:
        InputError: A file, a column, a type or a setting of the split does not fit.
    """
    data, features, test = config.data, config.features, None
    integers = {"user_id": pl.Int64(), "item_id": pl.Int64()}
    log = _open(data.events, config, "events", integers if data.id_type == "integer" else None)
    types = log.events.collect_schema()
    if config.split.kind == "given":
        if config.split.test is None:
            raise InputError('split "given" needs split.test: the file of the test events')
        ids = {name: types[name] for name in ("user_id", "item_id")}
        test = _open(config.split.test, config, "test", ids, like=types)
    items = read_metadata(data.items, data.item_id, "item_id", types["item_id"], features.item, decimal=data.decimal)
    users = read_metadata(data.users, data.user_id, "user_id", types["user_id"], features.user, decimal=data.decimal)
    if data.title is not None and data.title not in items.table.columns:
        raise InputError(
            f"data.title is {data.title!r}; expected a column of data.items, which has {', '.join(items.table.columns)}"
        )
    num_test_rows = 0 if test is None else test.num_rows
    plan = plan_shards(data, log.events, log.num_rows + num_test_rows)
    return Inputs(
        events=partition(log, folder / "events", plan.shards),
        test=None if test is None else partition(test, folder / "test", plan.shards),
        num_rows=log.num_rows,
        num_test_rows=num_test_rows,
        items=items,
        users=users,
        plan=plan,
    )


def refuse_unused_settings(split: SplitConfig) -> None:
    """Raise InputError on a setting of another kind of split, which would be ignored without a word."""
    for name, kind in (("val_start", "temporal"), ("test_start", "temporal"), ("test", "given")):
        if getattr(split, name) is not None and split.kind != kind:
            raise InputError(
                f"split.{name} is set but split.kind is {split.kind!r}; expected {kind!r}: set it, or remove this"
            )


def _open(
    location: str,
    config: Config,
    role: str,
    id_types: Mapping[str, pl.DataType] | None,
    like: Mapping[str, pl.DataType] | None = None,
) -> OpenLog:
    """Open a log.

    Args:
        location: Where it is.
        config: Names its columns.
        role: Names it in errors.
        id_types: Of a file of text, see ``scan_events``.
        like: The types of the events, whose kinds it must have; None for the events themselves.

    Raises:
        InputError: It is of another kind.
    """
    table = open_events(location, config.data.columns, role)
    events = name_events(table, config.data.columns, f"{role} at {location}", id_types)
    for name, dtype in (like or {}).items():
        if name in (found := events.collect_schema()):
            require_same_kind(found[name], dtype, name, role, "events")
    with input_error_if_unreadable(f"the {role}"):
        announced = table.frame.select(pl.len()).collect().item()  # of the table, so that no column need be read
    return OpenLog(events, announced, is_sliceable=table.form in ("parquet", "ipc"))
