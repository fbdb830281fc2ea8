"""A log sorted into one history per user."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from .column_types import WIDE
from .factorize import Int32, Int64, take_in_blocks
from .jagged import Jagged

Order = Int32 | Int64  # rows of a log
FEW_CODES = 1 << 16  # NumPy counts keys of 16 bits


@dataclass(frozen=True)
class UserEvents:
    """A log grouped by user: users sorted by id, each user's events in the total order.

    Attributes:
        user_ids: One per user who has an event.
        log: The events, in that order.
        items: Jagged [num_users] of int32 item codes, one for each event.
    """

    user_ids: pl.Series
    log: pl.DataFrame
    items: Jagged


def group_events(log: pl.DataFrame, user_ids: pl.Series) -> UserEvents:
    """Group a log that ``sort_events`` returned. All histories are built here, for training and for scoring.

    user_ids: The ids that the log's user codes stand for.
    """
    users = log.get_column("user_id").to_numpy()
    starts = np.flatnonzero(np.append(True, users[1:] != users[:-1])[: len(users)])
    items = Jagged(log.get_column("item_id").to_numpy(), np.append(starts, len(users)))
    return UserEvents(user_ids.gather(users[starts]), log, items)


def sort_events(columns: dict[str, pl.Series]) -> pl.DataFrame:
    """Sort a log of codes by user, then in the total order of events: time, if there is one, then row in the log.

    columns: The log's columns: user_id (codes), row, optionally time, and others. They are removed one by one, so that
    a large log is never held twice.
    """
    names = list(columns)
    if not columns["row"].is_sorted():
        columns |= pl.DataFrame(columns).sort("row").to_dict()
    by_time: Order | None = None
    if "time" in names:
        columns["time"] = columns["time"].rechunk()  # it is read twice
        by_time = _order_by_time(columns["time"])
    order, users = counting_sort(columns.pop("user_id").to_numpy(), by_time)
    with ThreadPoolExecutor() as threads:
        others = threads.map(partial(_pop_reordered, order, columns), list(columns))
        return pl.DataFrame([pl.Series("user_id", users), *others]).select(names)


def _order_by_time(times: pl.Series) -> Order | None:
    """The rows by time, ties by row; None if they are in order already."""
    if times.is_sorted():
        return None
    return stable_argsort((times.to_physical() if _is_integral(times.dtype) else times.rank("dense")).to_numpy())


def stable_argsort(times: npt.NDArray[np.integer]) -> Order:
    """The rows by time, ties by row.

    If time and row fit into one int64 together, that number is sorted by value, which is several times as fast as an
    indirect sort. The row in its low bits breaks ties, and is what remains when the time is masked out.
    """
    row_bits = len(times).bit_length()
    if not len(times) or row_bits + _num_bits(times) > 63:
        return np.argsort(times, kind="stable")
    rows, wide = _all_rows(len(times)), np.uint64 if times.dtype == np.uint64 else np.int64
    packed = np.subtract(times, times.min(), dtype=wide).view(np.int64)
    packed <<= row_bits
    packed |= rows
    np.bitwise_and(pl.Series(packed).sort().to_numpy(), (1 << row_bits) - 1, out=rows, casting="unsafe")
    return rows


def counting_sort(codes: Int32, order: Order | None) -> tuple[Order, Int32]:
    """Sort rows by code, stably.

    Args:
        codes: [n] codes from 0, by row.
        order: The rows in the order that ties keep; None for 0, 1, 2, ...

    Returns:
        The rows by code, and the codes in that order. NumPy counts keys of 16 bits. SciPy counts any, as the columns of
        a sparse matrix with one entry per row.
    """
    num_codes = int(codes.max(initial=0)) + 1
    keys = codes.astype(np.uint16) if num_codes <= FEW_CODES else codes
    if order is not None:
        keys = take_in_blocks(keys, order)
    if num_codes <= FEW_CODES:
        by_code: Order = np.argsort(keys, kind="stable")
        sorted_codes = take_in_blocks(keys, by_code).astype(np.int32)
    else:
        from scipy.sparse import csr_array  # importing it takes a tenth of a second, which smaller logs are spared

        entries = np.zeros(len(keys), np.int8)
        columns = csr_array((entries, keys, _all_rows(len(keys) + 1)), shape=(len(keys), num_codes)).tocsc()
        by_code = columns.indices
        sorted_codes = np.repeat(np.arange(num_codes, dtype=np.int32), np.diff(columns.indptr))
    return by_code if order is None else take_in_blocks(order, by_code), sorted_codes


def _all_rows(count: int) -> Order:
    """[count] from 0, in 32 bits if they fit: most of the cost of a large log is fresh memory."""
    return np.arange(count, dtype=np.int32) if count < 1 << 31 else np.arange(count)


def _num_bits(values: npt.NDArray[np.integer]) -> int:
    """How many bits hold the largest difference between two values."""
    return (int(values.max()) - int(values.min())).bit_length()


def _pop_reordered(order: Order, columns: dict[str, pl.Series], name: str) -> pl.Series:
    """Remove a column and return it in another order.

    Numbers go through NumPy, whose arrays lie in huge pages: that saves a quarter of a job's time if ids are integers.
    """
    column = columns.pop(name)
    dtype, num_rows = column.dtype, len(column)
    is_every_row = name == "row" and num_rows and (column[0], column[-1]) == (0, num_rows - 1)  # row is sorted
    if is_every_row:
        return pl.Series(name, order).cast(dtype)
    if not _is_integral(dtype):
        return column.gather(order)
    values: npt.NDArray[Any] = column.to_physical().to_numpy()
    del column
    return pl.Series(name, take_in_blocks(values, order)).cast(dtype)


def _is_integral(dtype: pl.DataType) -> bool:
    """Whether a column is integers underneath, as dates and times are."""
    return (dtype.is_integer() and dtype not in WIDE) or dtype.is_temporal()
