"""Parquet files of the user: listed, opened, and checked for columns and types, with one clear error each."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from .. import files
from ..errors import InputError

WIDE = (pl.Int128, pl.UInt128)  # NumPy has no integers of this width
RECOMMENDATIONS = {"rank": pl.Int32, "score": pl.Float32}  # beside user_id and item_id in the input's own types


@contextmanager
def input_error_if_unreadable(what: str, remedy: str = "expected Parquet files of one schema") -> Iterator[None]:
    """Turn an error while ``what`` is read, also a TypeError on odd values, into an InputError of one line."""
    try:
        yield
    except (OSError, TypeError, pl.exceptions.PolarsError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"cannot read {what}: {reason}; {remedy}") from error


def scan_parquet(location: str, role: str) -> pl.LazyFrame:
    """Open a Parquet file, a glob or a hive-partitioned folder as a lazy table.

    Args:
        location: The path.
        role: Names the table in errors, such as "events".

    Raises:
        InputError: There is no file, or it is no Parquet.
    """
    sources = source_files(location, role)
    with input_error_if_unreadable(f"{role} at {location}"):
        # the files are listed here rather than by Polars, so that what is read is what the digest covers
        frame = pl.scan_parquet(
            sources, glob=False, hive_partitioning=not Path(location).is_file(), extra_columns="ignore"
        )
        frame.collect_schema()
    return frame


def source_files(location: str, role: str = "input") -> list[Path]:
    """The files behind ``location``, in the order in which they are read.

    Inside a folder, names that start with "." or "_" are skipped, as the writers of such folders expect.

    Raises:
        InputError: There is no file.
    """
    path = Path(location)
    pattern = str(path.relative_to(path.anchor))
    try:
        matches = [path] if path.exists() or pattern == "." else sorted(Path(path.anchor or ".").glob(pattern))
    except ValueError as error:
        raise InputError(f"{role}: {location} is no pattern of files: {error}") from error
    sources = dict.fromkeys(  # without repeats: "**" matches a folder and what is in it
        file
        for match in matches
        for file in (sorted(match.rglob("*.parquet")) if match.is_dir() else [match])
        if file == match or not any(part.startswith((".", "_")) for part in file.relative_to(match).parts)
        if not file.is_dir()  # Spark names folders x.parquet, too
    )
    if not sources:
        raise InputError(f"{role}: no Parquet file at {location}; expected a file, a glob or a folder of *.parquet")
    return list(sources)


def source_digest(location: str, role: str = "input") -> str:
    """The fingerprint of the bytes behind ``location``, and of the values that hive folders carry in their names."""
    with input_error_if_unreadable(f"{role} at {location}"):
        return files.digest(*(
            [files.sha256(file), [part for part in file.parent.parts if "=" in part]]
            for file in source_files(location, role)
        ))  # fmt: skip


def require_columns(frame: pl.LazyFrame, columns: list[str], role: str, location: str) -> None:
    """Raise InputError if ``frame`` lacks one of ``columns``, or if its files differ in the type of one."""
    present = frame.collect_schema().names()
    missing = [column for column in columns if column not in present]
    if missing:
        raise InputError(
            f"{role} at {location} has no column {missing[0]!r}; found {', '.join(present)}: "
            f"name the right column in the config"
        )
    sources = source_files(location, role)
    with input_error_if_unreadable(f"{role} at {location}"):
        schemas = [(file.name, pl.read_parquet_schema(file)) for file in sources] if len(sources) > 1 else []
    for column in columns:  # a column that no file has is in the names of hive folders
        types = [(name, schema[column]) for name, schema in schemas if column in schema]
        for name, dtype in types[1:]:
            if dtype != types[0][1]:
                raise InputError(
                    f"{role} at {location}: {column} is {types[0][1]} in {types[0][0]}, {dtype} in {name}; "
                    "expected files of one schema"
                )


def id_type(frame: pl.LazyFrame, column: str, role: str) -> pl.DataType:
    """The type in which an id column is handled: integers as they are, text as String.

    Raises:
        InputError: The column is anything else.
    """
    dtype = frame.collect_schema()[column]
    if dtype == pl.String or (dtype.is_integer() and dtype not in WIDE):
        return dtype
    if isinstance(dtype, pl.Categorical | pl.Enum):
        return pl.String()
    raise InputError(f"{role}: {column} is {dtype}; ids are integers of up to 64 bits or strings: cast the column")


def time_type(frame: pl.LazyFrame, column: str, role: str) -> pl.DataType:
    """The type in which a time column is handled: numbers, dates and times as they are, text as String.

    Raises:
        InputError: The column is anything else.
    """
    dtype = frame.collect_schema()[column]
    if (dtype.is_numeric() and dtype not in WIDE) or dtype.is_temporal() or dtype == pl.String:
        return dtype
    if isinstance(dtype, pl.Categorical | pl.Enum):
        return pl.String()
    raise InputError(
        f"{role}: {column} is {dtype}; a time is a number, a date, a datetime or a string: cast the column"
    )


def require_same_kind(first: pl.DataType, second: pl.DataType, column: str, first_role: str, second_role: str) -> None:
    """Raise InputError if ids or times of two files could never be equal, such as integers and strings."""
    if _kind(first) != _kind(second):
        raise InputError(
            f"{column} is {first} in {first_role} but {second} in {second_role}; "
            f"expected one kind everywhere: cast one of them"
        )


def _kind(dtype: pl.DataType) -> str:
    if dtype.is_temporal():
        return f"time {getattr(dtype, 'time_zone', None)}"
    return "number" if dtype.is_numeric() else "text"


def cast_ids(ids: pl.Series, dtype: pl.DataType, role: str) -> pl.Series:
    """Ids of another table in the type that the events have.

    Raises:
        InputError: An id does not fit that type.
    """
    cast = ids.cast(dtype, strict=False)
    lost = ids.filter(cast.is_null() & ids.is_not_null())
    if len(lost):
        raise InputError(
            f"{role}: {ids.name} {lost[0]!r} does not fit {dtype}, its type in the events; "
            f"expected one type: cast their column to {ids.dtype}"
        )
    return cast
