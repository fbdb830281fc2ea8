"""Files of queries: user_id, history and, if answers are to be judged, targets. All of them are read here."""

import logging
from collections.abc import Mapping

import numpy as np
import polars as pl

from ..errors import InputError
from .column_types import id_columns, without_blanks
from .sources import input_error_if_unreadable, require_unchanged, source_digest
from .tables import scan_table

SEED = 0  # of a sample
logger = logging.getLogger(__name__)


def scan_queries(
    location: str, *, targets: bool = False, id_types: Mapping[str, pl.DataType] | None = None
) -> pl.LazyFrame:
    """Open a file of queries without reading its rows.

    Args:
        location: A file, a pattern of files or a folder.
        targets: Whether the items that the queries should find are needed, too.
        id_types: The types of user_id and item_id in a file of text, which has none of its own; not set: text.

    Returns:
        user_id (integers or strings), history and, if asked for, targets (lists of raw item ids, oldest first).

    Raises:
        InputError: A column is missing, or is not of these types.
    """
    lists = ["history", "targets"] if targets else ["history"]
    table = scan_table(location, "queries", ["user_id", *lists])
    schema, types = table.frame.collect_schema(), (id_types or {}) if table.is_text else None
    columns = id_columns(table.frame, {"user_id": "user_id"}, f"queries at {location}", text_types=types)
    for name in lists:
        dtype = schema[name]
        if not isinstance(dtype, pl.List | pl.Array):
            raise InputError(f"queries at {location}: {name} is {dtype}; expected a list of item ids for each user")
        inner = dtype.inner if types is None else types.get("item_id", pl.String())
        columns.append(pl.col(name).cast(pl.List(inner)))
    frame = table.frame.select(columns)
    if frame.collect_schema()["user_id"] == pl.String:
        frame = frame.with_columns(without_blanks(pl.col("user_id")))
    return frame


def read_queries(
    location: str, *, targets: bool = False, id_types: Mapping[str, pl.DataType] | None = None,
    at_most: int | None = None,
) -> pl.DataFrame:  # fmt: skip
    """Read a file of queries, or a random sample that fits in memory; a file that changes meanwhile is an error, too.

    at_most: How many queries are read; None for all. Other arguments, columns and errors are those of ``scan_queries``.
    """
    digest = source_digest(location, "queries")
    frame = scan_queries(location, targets=targets, id_types=id_types)
    with input_error_if_unreadable(f"queries at {location}"):
        total = 0 if at_most is None else frame.select(pl.len()).collect(engine="streaming").item()
        if at_most is not None and total > at_most:
            logger.info("reading a random sample of %s of the %s queries", f"{at_most:,}", f"{total:,}")
            rows = pl.Series(np.random.default_rng(SEED).permutation(total)[:at_most], dtype=pl.get_index_type())
            frame = frame.with_row_index("row").filter(pl.col("row").is_in(rows.implode())).drop("row")
        table = frame.collect(engine="streaming")
    require_unchanged(location, "queries", digest)
    return table
