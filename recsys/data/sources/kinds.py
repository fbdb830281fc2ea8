"""The kinds of sources: for each, which locations are of it, how it is opened, and what tells that it is unchanged."""

import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from ...errors import InputError
from .delta import delta_digest, delta_identities, is_delta, scan_delta
from .forms import Files
from .iceberg import iceberg_digest, iceberg_identities, is_iceberg, scan_iceberg
from .local_files import files_digest, files_identities, open_files
from .objects import is_object, object_identities, objects_digest, open_objects
from .query import is_query, query_digest, query_identities, scan_query
from .source import Identity, Source, input_error_if_unreadable, named

AT_REST = "expected files at rest: run again when they are complete"
ONE_VERSION = "expected one version from the first look to the last: run again when nobody writes there"


@dataclass(frozen=True)
class SourceKind:
    """One kind of source.

    Attributes:
        name: What it is called.
        owns: Whether a location is of this kind.
        open: A location and its role in errors to files, or to rows that one reader gives.
        digest: The fingerprint of all that is read.
        identities: What tells that it is the same thing, and that nothing was written to it; see ``source_identities``.
        remedy: What to do if it changed while it was read.
    """

    name: str
    owns: Callable[[str, str], bool]
    open: Callable[[str, str], Files | pl.LazyFrame]
    digest: Callable[[str, str], str]
    identities: Callable[[str, str], list[Identity]]
    remedy: str = AT_REST


KINDS = (  # the first one that owns a location reads it
    SourceKind("query", is_query, scan_query, query_digest, query_identities,
               "expected the same rows in the same order whenever the query runs: run again when nobody writes there"),
    SourceKind("iceberg", is_iceberg, scan_iceberg, iceberg_digest, iceberg_identities, ONE_VERSION),
    SourceKind("delta", is_delta, scan_delta, delta_digest, delta_identities, ONE_VERSION),
    SourceKind("object", is_object, open_objects, objects_digest, object_identities),
    SourceKind("file", lambda location, role: True, open_files, files_digest, files_identities),
)  # fmt: skip


def _kind_of(location: str, role: str) -> SourceKind:
    with input_error_if_unreadable(f"{role} at {location}"):
        return next(kind for kind in KINDS if kind.owns(location, role))


def open_source(location: str, role: str) -> Files | pl.LazyFrame:
    """What is behind ``location``: files with their forms, or rows.

    Raises:
        InputError: There is nothing, or it cannot be read.
    """
    return _kind_of(location, role).open(location, role)


def source_digest(source: Source, role: str = "input") -> str:
    """The fingerprint of what is read: of bytes, of the versions of objects and tables, or of a table in memory."""
    with input_error_if_unreadable(named(role, source)):
        if isinstance(source, pl.DataFrame):
            content = io.BytesIO()
            source.rechunk().write_parquet(content, compression="uncompressed")  # the same values are the same bytes
            return hashlib.sha256(content.getbuffer()).hexdigest()
        return _kind_of(source, role).digest(source, role)


def source_identities(location: str, role: str = "input") -> list[Identity]:
    """What tells that the files, objects or table are the same ones, and that nobody wrote to them since.

    Others may have been there for a while, and been read, before the first ones came back with the same digest.
    """
    with input_error_if_unreadable(f"{role} at {location}"):
        return _kind_of(location, role).identities(location, role)


def require_unchanged(source: Source, role: str, digest: str) -> None:
    """Raise InputError if what is at a location no longer has the digest that it had before reading."""
    if isinstance(source, str) and source_digest(source, role) != digest:
        remedy = _kind_of(source, role).remedy
        raise InputError(f"{role} at {source} changed while it was read; {remedy}")
