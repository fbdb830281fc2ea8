"""What a caller may give to be read, and how errors name it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import polars as pl

from ...errors import InputError
from ...paths import address_of

Source = str | pl.DataFrame  # a path, a pattern of files or a folder; or a table in memory


class ArrowTable(Protocol):
    """A table in memory that hands over its columns: a DataFrame of Polars or pandas, or a Table of pyarrow."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Arrow's interface between libraries."""


AnySource = str | os.PathLike[str] | pl.LazyFrame | ArrowTable
Identity = tuple[str | int, ...]  # what tells that a file or a table is the same one, and that nobody has written to it


@contextmanager
def input_error_if_unreadable(what: str, remedy: str = "expected whole files of one schema") -> Iterator[None]:
    """Turn an error while ``what`` is read, also a panic of Polars, into an InputError of one line."""
    try:
        yield
    except pl.exceptions.PanicException as error:  # which is no Exception
        raise InputError(f"cannot read {what}: it is damaged, or changed while it was read; {remedy}") from error
    except (OSError, TypeError, pl.exceptions.PolarsError) as error:
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise InputError(f"cannot read {what}: {reason}; {remedy}") from error


def as_source(given: AnySource, role: str) -> Source:
    """What a caller gives to be read: paths as they are, any table in memory as one of Polars.

    Raises:
        InputError: It is neither, or cannot be read.
    """
    if isinstance(given, str | os.PathLike):
        return address_of(given) or os.fspath(given)
    with input_error_if_unreadable(named(role, pl.DataFrame()), "expected a table of plain columns"):
        if isinstance(given, pl.LazyFrame):
            return given.collect()
        if isinstance(given, pl.DataFrame):
            return given
        if type(given).__module__.partition(".")[0] == "pandas" and hasattr(given, "columns"):
            try:
                return pl.from_pandas(given)  # without the index of pandas, and with null for NaN
            except ValueError as error:  # mixed types, or two columns of one name
                raise TypeError(str(error)) from error
        if hasattr(given, "__arrow_c_stream__") and hasattr(given, "column_names"):
            return pl.DataFrame(given)
    raise InputError(f"{role} are a {type(given).__name__}; expected a path, or a DataFrame of Polars or pandas")


def named(role: str, source: Source) -> str:
    """A table in an error: "items at items.parquet", or "items in memory"."""
    return f"{role} at {source}" if isinstance(source, str) else f"{role} in memory"
