"""Iceberg tables: iceberg://CATALOGUE/NAMESPACE.TABLE, of a catalogue that PyIceberg's own configuration names.

A snapshot is never changed, so the table's id and the snapshot's say what is read.
"""

from typing import Any

import polars as pl

from ... import files
from ...errors import InputError
from ...extras import library
from ...paths import address_of
from .source import Identity

SCHEME = "iceberg://"


def is_iceberg(location: str, role: str) -> bool:
    """Whether a location names a table of a catalogue."""
    return (address_of(location) or "").startswith(SCHEME)


def scan_iceberg(location: str, role: str) -> pl.LazyFrame:
    """The rows of the newest snapshot. Raises InputError if catalogue or table are unknown."""
    table = _table(location, role)
    return pl.scan_iceberg(table, snapshot_id=table.metadata.current_snapshot_id)


def iceberg_digest(location: str, role: str) -> str:
    """The fingerprint of the newest snapshot, under the newest names of its columns."""
    return files.digest("iceberg", *_identity(location, role))


def iceberg_identities(location: str, role: str) -> list[Identity]:
    """The ids of the table, its newest snapshot and its newest schema."""
    return [(location, *_identity(location, role))]


def _identity(location: str, role: str) -> tuple[str, int, int]:
    metadata = _table(location, role).metadata
    return str(metadata.table_uuid), metadata.current_snapshot_id or 0, metadata.current_schema_id


def _table(location: str, role: str) -> Any:
    catalogue, slash, name = str(address_of(location)).removeprefix(SCHEME).partition("/")
    if not catalogue or not slash or "." not in name:
        raise InputError(f"{role}: {location} names no table; expected {SCHEME}CATALOGUE/NAMESPACE.TABLE")
    catalogues = library("pyiceberg.catalog", "iceberg", f"the Iceberg table at {location}")
    try:
        return catalogues.load_catalog(catalogue).load_table(name)
    except Exception as error:  # of the catalogue, its database or its server: PyIceberg has no common class
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise InputError(
            f"cannot read {role} at {location}: {reason}; expected a table that PyIceberg opens: name its catalogue in "
            f".pyiceberg.yaml or by PYICEBERG_CATALOG__{catalogue.upper()}__URI"
        ) from error
