"""Histories as jagged arrays: one values array and one offsets array, never a list per user."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from .factorize import Int32, Int64, take_in_blocks
from .jagged import Jagged
from .parquet import WIDE

Order = Int32 | Int64  # rows of a log


def stable_argsort(times: npt.NDArray[np.integer]) -> Order:
    """The rows by time, ties as they stand.

    Time and row are packed into one int64 where they fit, and sorted as values: several times as fast as an indirect
    sort.
    """
    bits = len(times).bit_length()
    if not len(times) or bits + _width(times) > 63:
        return np.argsort(times, kind="stable")
    rows, wide = _all_rows(len(times)), np.uint64 if times.dtype == np.uint64 else np.int64
    packed = np.subtract(times, times.min(), dtype=wide).view(np.int64)
    packed <<= bits
    packed |= rows
    np.bitwise_and(pl.Series(packed).sort().to_numpy(), (1 << bits) - 1, out=rows, casting="unsafe")
    return rows


def counting_sort(codes: Int32, order: Order | None) -> tuple[Order, Int32]:
    """``order`` (None: as they stand) by codes from 0, ties as they stand, and the codes in that order.

    NumPy counts keys of 16 bits; SciPy any, as the columns of a matrix with one entry a row.
    """
    num_codes = int(codes.max(initial=0)) + 1
    few = num_codes <= 1 << 16
    keys = codes.astype(np.uint16) if few else codes
    if order is not None:
        keys = take_in_blocks(keys, order)
    if few:
        rank: Order = np.argsort(keys, kind="stable")
        sorted_codes = take_in_blocks(keys, rank).astype(np.int32)
    else:
        from scipy.sparse import csr_array  # takes a tenth of a second, which smaller logs are spared

        entries = np.zeros(len(keys), np.int8)
        by_code = csr_array((entries, keys, _all_rows(len(keys) + 1)), shape=(len(keys), num_codes)).tocsc()
        rank = by_code.indices
        sorted_codes = np.repeat(np.arange(num_codes, dtype=np.int32), np.diff(by_code.indptr))
    return rank if order is None else take_in_blocks(order, rank), sorted_codes


def _all_rows(count: int) -> Order:
    """[count] from 0, in 32 bits where they fit: fresh memory is most of what a large log costs."""
    return np.arange(count, dtype=np.int32) if count < 1 << 31 else np.arange(count)


def _width(key: npt.NDArray[np.integer]) -> int:
    """Bits that tell its values apart."""
    return (int(key.max()) - int(key.min())).bit_length()


def sort_events(columns: dict[str, pl.Series]) -> pl.DataFrame:
    """A log of codes by user, then in the total order of events: time where there is one, then row in the log.

    columns: of the log, taken out one by one: a large log should not be held twice.
    """
    names = list(columns)
    if not columns["row"].is_sorted():
        columns |= pl.DataFrame(columns).sort("row").to_dict()
    order: Order | None = None
    if "time" in names:
        columns["time"] = columns["time"].rechunk()  # once, though it is read twice
        order = _by_time(columns["time"])
    order, users = counting_sort(columns.pop("user_id").to_numpy(), order)
    with ThreadPoolExecutor() as each:
        rest = each.map(partial(_moved, order, columns), list(columns))
        return pl.DataFrame([pl.Series("user_id", users), *rest]).select(names)


def _by_time(times: pl.Series) -> Order | None:
    """The rows by time, ties as they stand; None where they stand so."""
    if times.is_sorted():
        return None
    return stable_argsort((times.to_physical() if _is_counted(times.dtype) else times.rank("dense")).to_numpy())


def _moved(order: Order, columns: dict[str, pl.Series], name: str) -> pl.Series:
    """Numbers by NumPy, whose arrays lie in huge pages: a quarter of a job's time where ids are integers."""
    column = columns.pop(name)
    dtype, num_rows = column.dtype, len(column)
    if name == "row" and num_rows and (column[0], column[-1]) == (0, num_rows - 1):  # in order and none left out
        return pl.Series(name, order).cast(dtype)
    if not _is_counted(dtype):
        return column.gather(order)
    values: npt.NDArray[Any] = column.to_physical().to_numpy()
    del column
    return pl.Series(name, take_in_blocks(values, order)).cast(dtype)


@dataclass(frozen=True)
class UserEvents:
    """A log grouped by user, users sorted by id, each user's events in the total order.

    user_ids: one per user who has an event. log: what was grouped; a row of it is called a place. items: Jagged
    [num_users] of item codes, one for each place, int32.
    """

    user_ids: pl.Series
    log: pl.DataFrame
    items: Jagged


def group_events(log: pl.DataFrame, user_ids: pl.Series) -> UserEvents:
    """Group a log of codes that ``sort_events`` sorted. user_ids: what the users' codes stand for.

    The one builder of histories, for training and for scoring alike.
    """
    users = log.get_column("user_id").to_numpy()
    starts = np.flatnonzero(np.append(True, users[1:] != users[:-1])[: len(users)])
    items = Jagged(log.get_column("item_id").to_numpy(), np.append(starts, len(users)))
    return UserEvents(user_ids.gather(users[starts]), log, items)


def _is_counted(dtype: pl.DataType) -> bool:
    return (dtype.is_integer() and dtype not in WIDE) or dtype.is_temporal()
