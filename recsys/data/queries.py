"""Files of queries: user_id, history and, if answers are to be judged, targets. All of them are read here."""

import polars as pl

from ..errors import InputError
from .parquet import id_type, input_error_if_unreadable, require_columns, scan_parquet


def scan_queries(location: str, *, targets: bool = False) -> pl.LazyFrame:
    """Open a file of queries without reading its rows.

    Args:
        location: A Parquet file, a glob or a folder.
        targets: Whether the items that the queries should find are needed, too.

    Returns:
        user_id (integers or strings), history and, if asked for, targets (lists of raw item ids, oldest first).

    Raises:
        InputError: A column is missing, or is not of these types.
    """
    lists = ["history", "targets"] if targets else ["history"]
    frame = scan_parquet(location, "queries")
    require_columns(frame, ["user_id", *lists], "queries", location)
    schema, columns = frame.collect_schema(), [pl.col("user_id").cast(id_type(frame, "user_id", "queries"))]
    for name in lists:
        dtype = schema[name]
        if not isinstance(dtype, pl.List | pl.Array):
            raise InputError(f"queries at {location}: {name} is {dtype}; expected a list of item ids for each user")
        columns.append(pl.col(name).cast(pl.List(dtype.inner)))
    return frame.select(columns)


def read_queries(location: str, *, targets: bool = False) -> pl.DataFrame:
    """Read a file of queries that fits in memory; arguments, columns and errors are those of ``scan_queries``."""
    frame = scan_queries(location, targets=targets)
    with input_error_if_unreadable(f"queries at {location}"):
        return frame.collect()
