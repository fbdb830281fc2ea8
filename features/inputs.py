"""What a dataset is built from: the log with its windows, and the metadata, read and checked; and their fingerprint."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import polars as pl

from recsys import files
from recsys.config import Config, SplitConfig
from recsys.data import (
    FORMAT,
    CleanLog,
    Identity,
    Int32,
    LogCounts,
    MetadataTable,
    cast_ids,
    clean_events,
    factorize_ids,
    input_error_if_unreadable,
    name_events,
    open_events,
    read_metadata,
    require_same_kind,
    require_unchanged,
    sort_events,
    source_digest,
    source_identities,
    widen,
)
from recsys.errors import InputError
from recsys.text_encoders import encoder_version

from .windows import TEST, assign_windows

_LATER_KEYS = {"id_type", "time_format", "decimal"}
_LATER_SPLIT_KEYS = {"test_share"}


@dataclass(frozen=True)
class Fingerprint:
    """Digests of inputs and settings.

    Attributes:
        log: Of the events and of how they are split: datasets that agree in it train on the same events.
        digest: Of everything that a dataset depends on.
        sources: Of the files, by what they hold.
        identities: What tells that the files are the same ones, likewise.
    """

    log: str
    digest: str
    sources: dict[str, str]
    identities: dict[str, list[Identity]]


@dataclass(frozen=True)
class Inputs:
    """The tables behind a dataset.

    Attributes:
        log: The clean log with ``window``. The test file of a "given" split follows the events, in window TEST.
        test_counts: What cleaning did to that test file; None if there is none.
        items, users: The metadata.
    """

    log: CleanLog
    test_counts: LogCounts | None
    items: MetadataTable
    users: MetadataTable


def fingerprint_inputs(config: Config) -> Fingerprint:
    """Digest the files that a configuration names, and the settings that decide the content of a dataset."""
    identities = {role: source_identities(location, role) for role, location in _locations(config).items()}
    sources = {role: source_digest(location, role) for role, location in _locations(config).items()}
    # keys that came later count only where they are set, so that the digest of an earlier dataset stays what it is
    changed = config.data.model_dump(include=_LATER_KEYS, exclude_defaults=True)
    data = config.data.model_dump(exclude={"events", "items", "users", "title"} | _LATER_KEYS) | changed
    split = config.split.model_dump(exclude={"test"} | _LATER_SPLIT_KEYS)
    split |= config.split.model_dump(include=_LATER_SPLIT_KEYS, exclude_defaults=True)
    log = files.digest(
        config.data.columns | changed, config.data.min_user_events, split, sources.get("events"), sources.get("test")
    )
    digests = [sources.get(role) for role in ("events", "test", "items", "users")]
    encoders = [encoder_version(name) for name in config.features.encoders]
    digest = files.digest(FORMAT, data, config.features.model_dump(), split, digests, *([encoders] if encoders else []))
    return Fingerprint(log, digest, sources, identities)


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


def read_inputs(config: Config) -> Inputs:
    """Read the log, its test file and the metadata that a configuration names.

    Raises:
        InputError: A file, a column, a type or a setting of the split does not fit.
    """
    data, features = config.data, config.features
    integers = {"user_id": pl.Int64(), "item_id": pl.Int64()}
    log = _clean(data.events, config, "events", integers if data.id_type == "integer" else None)
    log, test_counts = replace(log, log=assign_windows(config.split, log.log)), None
    if config.split.kind == "given":
        test = _read_test(config, log)
        log, test_counts = _append(log, test), test.counts
    items = read_metadata(data.items, data.item_id, "item_id", log.item_ids.dtype, features.item, decimal=data.decimal)
    users = read_metadata(data.users, data.user_id, "user_id", log.user_ids.dtype, features.user, decimal=data.decimal)
    if data.title is not None and data.title not in items.table.columns:
        raise InputError(
            f"data.title is {data.title!r}; expected a column of data.items, which has {', '.join(items.table.columns)}"
        )
    return Inputs(log, test_counts, items, users)


def refuse_unused_settings(split: SplitConfig) -> None:
    """Raise InputError on a setting of another kind of split, which would be ignored without a word."""
    for name, kind in (("val_start", "temporal"), ("test_start", "temporal"), ("test", "given")):
        if getattr(split, name) is not None and split.kind != kind:
            raise InputError(
                f"split.{name} is set but split.kind is {split.kind!r}; expected {kind!r}: set it, or remove this"
            )


def _read_test(config: Config, log: CleanLog) -> CleanLog:
    """Read the test file of a "given" split, whose columns must be of the log's kinds."""
    if config.split.test is None:
        raise InputError('split "given" needs split.test: the file of the test events')
    id_types = {"user_id": log.user_ids.dtype, "item_id": log.item_ids.dtype}
    return _clean(config.split.test, config, "test", id_types, like=log.log.schema | id_types)


def _clean(
    location: str,
    config: Config,
    role: str,
    id_types: Mapping[str, pl.DataType] | None,
    like: Mapping[str, pl.DataType] | None = None,
) -> CleanLog:
    """Open and clean a log.

    Args:
        location: Where it is.
        config: Names its columns.
        role: Names it in errors.
        id_types: Of a file of text, see ``scan_events``.
        like: The types of the events, whose kinds it must have; None for the events themselves.

    Raises:
        InputError: It had other rows when it was read than when they were counted, or is of another kind.
    """
    table = open_events(location, config.data.columns, role)
    events = name_events(table, config.data.columns, f"{role} at {location}", id_types)
    for name, dtype in (like or {}).items():
        if name in (found := events.collect_schema()):
            require_same_kind(found[name], dtype, name, role, "events")
    with input_error_if_unreadable(f"the {role}"):
        announced = table.frame.select(pl.len()).collect().item()  # of the table, so that no column need be read
    cleaned = clean_events(events)
    if cleaned.counts.rows != announced:
        raise InputError(
            f"{role}: {cleaned.counts.rows:,} rows were read of {announced:,}; expected files at rest: run again when "
            "they are complete"
        )
    return cleaned


def _with_one_type_of_time(log: pl.DataFrame, test: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Both logs, with times of the type that holds the times of both.

    Raises:
        InputError: There is none.
    """
    if "time" not in log.columns or log.schema["time"] == test.schema["time"]:
        return log, test
    dtype = widen(log.schema["time"], test.schema["time"])
    if dtype is not None:
        times = [frame.get_column("time") for frame in (log, test)]
        cast = [column.cast(dtype, strict=False) for column in times]
        if all(new.cast(old.dtype, strict=False).equals(old) for new, old in zip(cast, times, strict=True)):
            return log.with_columns(cast[0]), test.with_columns(cast[1])
    raise InputError(
        f"time is {log.schema['time']} in events but {test.schema['time']} in test, and no type holds the times of "
        "both without loss; expected one type: cast one of the columns"
    )


def _append(log: CleanLog, test: CleanLog) -> CleanLog:
    """The log and then the test file, in window TEST, with one set of codes."""
    users = _unite(log.user_ids, test.user_ids)
    items = _unite(log.item_ids, test.item_ids)
    first, later = _with_one_type_of_time(log.log, test.log)
    later = later.with_columns(row=pl.col("row") + log.counts.rows, window=pl.lit(TEST, pl.UInt8))
    parts = ((first, users.first_codes, items.first_codes), (later, users.second_codes, items.second_codes))
    events = pl.concat([
        part.with_columns(
            user_id=pl.Series(user_codes[part.get_column("user_id")]),
            item_id=pl.Series(item_codes[part.get_column("item_id")]),
        )
        for part, user_codes, item_codes in parts
    ], how="vertical_relaxed")  # fmt: skip
    quarantine = pl.concat([
        log.quarantine.with_columns(source=pl.lit("events")), test.quarantine.with_columns(source=pl.lit("test"))
    ], how="vertical_relaxed")  # fmt: skip
    return CleanLog(sort_events(events.to_dict()), users.ids, items.ids, quarantine, log.counts)


@dataclass(frozen=True)
class _UnitedIds:
    """The sorted distinct ids of two columns, and each column's codes among them."""

    ids: pl.Series
    first_codes: Int32
    second_codes: Int32


def _unite(first: pl.Series, second: pl.Series) -> _UnitedIds:
    ids, codes = factorize_ids(pl.concat([first, cast_ids(second, first.dtype, "test")]))
    return _UnitedIds(ids, codes[: len(first)], codes[len(first) :])
