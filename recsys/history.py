"""Histories as jagged arrays: one values array and one offsets array, never a list per user."""

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
from scipy.sparse import coo_matrix

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Jagged:
    """Rows of unequal length. Row ``i`` is ``values[offsets[i]:offsets[i + 1]]``.

    values: [total] int32 (any dtype is carried through). offsets: [num_rows + 1] int64, from 0, never falling.
    """

    values: npt.NDArray[Any]
    offsets: Int64

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> npt.NDArray[Any]:
        return self.values[self.offsets[row] : self.offsets[row + 1]]

    @property
    def lengths(self) -> Int64:
        """[num_rows] int64."""
        return np.diff(self.offsets)

    @property
    def row_of_value(self) -> Int64:
        """[total] int64: the row that each value belongs to."""
        return np.repeat(np.arange(len(self)), self.lengths)

    @staticmethod
    def from_lengths(values: npt.NDArray[Any], lengths: npt.NDArray[np.integer]) -> "Jagged":
        """Cut ``values`` into rows of the given lengths; they must add up to ``len(values)``."""
        return Jagged(values, np.concatenate(([0], np.cumsum(lengths, dtype=np.int64))))

    @staticmethod
    def from_rows(rows: list[npt.NDArray[Any]] | list[list[int]], dtype: npt.DTypeLike = np.int32) -> "Jagged":
        """Pack a list of arrays; for single requests and tests, not for logs."""
        values = np.concatenate([np.asarray(row, dtype) for row in rows]) if rows else np.empty(0, dtype)
        return Jagged.from_lengths(values, np.array([len(row) for row in rows], np.int64))

    @staticmethod
    def from_series(lists: pl.Series) -> "Jagged":
        """View a List column without nulls; zero-copy where it is one chunk."""
        array = lists.rechunk().to_arrow()
        offsets = pl.Series(array.offsets).to_numpy()  # by Polars, since pyarrow's own to_numpy imports pandas
        values = pl.Series(array.values.slice(offsets[0], offsets[-1] - offsets[0]))
        return Jagged(values.to_numpy(), (offsets - offsets[0]).astype(np.int64, copy=False))

    def to_series(self, name: str) -> pl.Series:
        """The rows as a List column."""
        return as_lists(pl.Series(self.values), self.offsets, name)

    def keep(self, mask: npt.NDArray[np.bool_]) -> "Jagged":
        """The same rows with only the values where ``mask`` ([total] bool) holds."""
        kept = np.concatenate(([0], np.cumsum(mask, dtype=np.int64)))
        return Jagged(self.values[mask], kept[self.offsets])

    def take(self, rows: npt.NDArray[np.integer]) -> "Jagged":
        """The given rows, in the given order."""
        lengths = self.lengths[rows]
        offsets = np.concatenate(([0], np.cumsum(lengths)))
        source = np.repeat(self.offsets[rows] - offsets[:-1], lengths) + np.arange(offsets[-1])
        return Jagged(self.values[source], offsets)

    def tail(self, length: int) -> "Jagged":
        """The last ``length`` values of every row."""
        return self.keep(np.arange(len(self.values)) >= np.repeat(self.offsets[1:] - length, self.lengths))


def as_lists(values: pl.Series, offsets: Int64, name: str) -> pl.Series:
    """Cut a column into a List column: row ``i`` is ``values[offsets[i]:offsets[i + 1]]``."""
    # a buffer, since pa.array imports pandas
    starts = pa.Array.from_buffers(pa.int64(), len(offsets), [None, pa.py_buffer(np.ascontiguousarray(offsets))])
    return pl.Series(name, pa.LargeListArray.from_arrays(starts, values.rechunk().to_arrow()))


def flatten(lists: pl.Series) -> tuple[pl.Series, Int64]:
    """A List column's elements and each row's length, [num_rows] int64; a null row is an empty one."""
    lengths = lists.list.len().fill_null(0).cast(pl.Int64).to_numpy()
    return lists.filter(pl.Series(lengths > 0)).explode(), lengths


def rows_of(ids: pl.Series, vocabulary: pl.Series, *, offset: int = 0) -> Int32:
    """[n] int32: the row of each id in ``vocabulary`` (distinct), plus ``offset``; ``offset - 1`` where absent."""
    table = vocabulary.to_frame("id").with_row_index("row", offset=offset)
    joined = ids.to_frame("id").join(table, on="id", how="left", maintain_order="left")
    return joined.get_column("row").cast(pl.Int32).fill_null(offset - 1).to_numpy()


def crc_of(ids: pl.Series) -> npt.NDArray[np.uint32]:
    """[n] uint32: a digest of each id that no library version changes; 7 is digested like "7"."""
    return np.fromiter((zlib.crc32(str(one).encode()) for one in ids), np.uint32, len(ids))


def shard_of(user_ids: pl.Series, num_shards: int) -> pl.Series:
    """[n] the shard of each user, by a digest of the id."""
    distinct = user_ids.unique()
    shards = pl.Series("shard", crc_of(distinct) % np.uint32(num_shards))
    return shards.gather(rows_of(user_ids, distinct))


def order_by_user(user_rows: Int32, num_users: int) -> tuple[Int64, Int64]:
    """Group events by user, each user's in the order given: a stable counting sort, O(events + users).

    user_rows: [n] int32, each in 0..num_users-1. Returns the event index at each place, [n] int64, and the users'
    offsets into it, [num_users + 1] int64. With the event's index as column, COO to CSR is exactly that sort.
    """
    count = len(user_rows)
    index = np.arange(count, dtype=np.int64)
    matrix = coo_matrix((index, (user_rows, index)), shape=(num_users, max(count, 1))).tocsr()
    return matrix.data.astype(np.int64, copy=False), matrix.indptr.astype(np.int64)


@dataclass(frozen=True)
class UserEvents:
    """A log grouped by user, users sorted by id, each user's events in the total order: time, then row in the log.

    user_ids: one per row of ``events``. events: Jagged [num_users] of indices into ``log``, int64.
    """

    user_ids: pl.Series
    log: pl.DataFrame
    events: Jagged


def group_events(log: pl.DataFrame) -> UserEvents:
    """Group a clean log (user_id, item_id, row and, where the data is ordered, time) by user.

    The one builder of histories, for training and for scoring alike. The sort by time is skipped where every user's
    events already stand in order.
    """
    if not log.get_column("row").is_sorted():
        log = log.sort("row")
    user_ids = log.get_column("user_id").unique().sort()
    grouped = _group(log, user_ids)
    if "time" in log.columns and not _in_order(log, grouped):
        log = log.sort("time", maintain_order=True)
        grouped = _group(log, user_ids)
    return UserEvents(user_ids, log, grouped)


def _group(log: pl.DataFrame, user_ids: pl.Series) -> Jagged:
    user_rows = rows_of(log.get_column("user_id"), user_ids)
    return Jagged(*order_by_user(user_rows, len(user_ids)))


def _in_order(log: pl.DataFrame, grouped: Jagged) -> bool:
    times = log.get_column("time").gather(grouped.values)
    falls = (times.slice(1) < times.slice(0, len(times) - 1)).to_numpy() if len(times) > 1 else np.zeros(0, bool)
    falls[grouped.offsets[1:-1] - 1] = False  # from one user's last event to the next one's first
    return not falls.any()
