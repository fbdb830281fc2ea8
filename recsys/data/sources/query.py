"""A query to a DuckDB database: duckdb:///shop.db?query=SELECT ..., the SQL as it is, without any encoding.

A query has no version, so its fingerprint is that of its rows, in their order: it runs once for each time that they are
needed. DuckDB runs it in one thread, in which the same database gives the same rows in the same order, also where the
query has no ORDER BY; and the database is open for reading only.
"""

import hashlib
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
from polars.io.plugins import register_io_source

from ...errors import InputError
from ...extras import library
from ...paths import address_of, local_path
from .source import Identity

ROWS = 1 << 16  # read at a time
_FORM = re.compile(r"duckdb:///(?P<database>[^?]+)\?query=(?P<sql>.*\S)\s*", re.DOTALL)


def is_query(location: str, role: str) -> bool:
    """Whether a location is a query."""
    return (address_of(location) or "").startswith("duckdb://")


def scan_query(location: str, role: str) -> pl.LazyFrame:
    """The rows of a query. Raises InputError if there is no such database, or if it refuses the query."""
    with _relation(location, role) as relation:
        schema = pl.DataFrame(relation.limit(0).to_arrow_table()).schema

    def read(
        with_columns: list[str] | None, predicate: pl.Expr | None, n_rows: int | None, batch_size: int | None
    ) -> Iterator[pl.DataFrame]:
        for rows in _batches(location, role, n_rows):
            chosen = rows if predicate is None else rows.filter(predicate)
            yield chosen if with_columns is None else chosen.select(with_columns)

    return register_io_source(read, schema=schema)


def query_digest(location: str, role: str) -> str:
    """The fingerprint of the rows, in their order."""
    content, pending = hashlib.sha256(), None
    for rows in _batches(location, role, None):
        pending = rows if pending is None else pl.concat([pending, rows])
        while pending.height > ROWS:  # in steps that are the same however DuckDB cuts its batches
            content.update(_bytes(pending.head(ROWS)))
            pending = pending.slice(ROWS)
    content.update(b"" if pending is None else _bytes(pending))
    return content.hexdigest()


def query_identities(location: str, role: str) -> list[Identity]:
    """The files of the database, as on disk: a writer changes them."""
    _, database, _ = _parts(location, role)
    return [
        (str(path), stat.st_dev, stat.st_ino, stat.st_size, stat.st_ctime_ns)
        for path in (database, database.with_name(f"{database.name}.wal"))
        if path.exists() and (stat := path.stat())
    ]


def _bytes(rows: pl.DataFrame) -> bytes:
    content = io.BytesIO()
    rows.rechunk().write_parquet(content, compression="uncompressed")  # the same values are the same bytes
    return content.getvalue()


def _batches(location: str, role: str, n_rows: int | None) -> Iterator[pl.DataFrame]:
    with _relation(location, role) as relation:
        limited = relation if n_rows is None else relation.limit(n_rows)
        for batch in limited.to_arrow_reader(ROWS):
            yield pl.DataFrame(batch)


def _parts(location: str, role: str) -> tuple[str, Path, str]:
    """The address without its query, the database, and the SQL."""
    matched = _FORM.fullmatch(address_of(location) or "")
    if matched is None:
        raise InputError(f"{role}: {location} is no query; expected duckdb:///PATH.db?query=SELECT ...")
    return location.partition("?")[0], local_path(matched["database"]), matched["sql"].rstrip("; \t\n")


@contextmanager
def _relation(location: str, role: str) -> Iterator[Any]:
    """The query, ready to run. Errors, also while its rows are read, become an InputError of one line."""
    duckdb = library("duckdb", "duckdb", f"the query {location}")
    address, database, sql = _parts(location, role)
    try:
        with duckdb.connect(str(database), read_only=True, config={"threads": 1}) as connection:
            yield connection.sql(f"SELECT * FROM ({sql}\n)")
    except duckdb.Error as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise InputError(
            f"cannot read {role} at {address}: {reason}; expected a database that nobody else writes to, and one "
            "SELECT that it answers"
        ) from error
