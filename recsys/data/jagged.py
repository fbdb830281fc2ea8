"""Rows of unequal length as one array of values and one of offsets, never a Python list per user."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from .factorize import Int64


@dataclass(frozen=True)
class Jagged:
    """Rows of unequal length. Row ``i`` is ``values[offsets[i]:offsets[i + 1]]``.

    Attributes:
        values: [total] int32, or any other dtype.
        offsets: [num_rows + 1] int64, ascending from 0 to total.
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
        return self.offsets[1:] - self.offsets[:-1]

    @property
    def continues(self) -> npt.NDArray[np.bool_]:
        """[total] bool: whether the value before belongs to the same row."""
        same = np.ones(len(self.values), bool)
        same[self.offsets[:-1][self.lengths > 0]] = False
        return same

    @property
    def row_of_value(self) -> Int64:
        """[total] int64: the row that each value belongs to."""
        return np.repeat(np.arange(len(self)), self.lengths)

    @staticmethod
    def from_lengths(values: npt.NDArray[Any], lengths: npt.NDArray[np.integer]) -> "Jagged":
        """Cut ``values`` into rows of the given lengths, which must add up to ``len(values)``."""
        return Jagged(values, np.concatenate(([0], np.cumsum(lengths, dtype=np.int64))))

    @staticmethod
    def from_rows(rows: list[npt.NDArray[Any]] | list[list[int]], dtype: npt.DTypeLike = np.int32) -> "Jagged":
        """Pack a list of arrays; for single requests and tests, not for logs."""
        values = np.concatenate([np.asarray(row, dtype) for row in rows]) if rows else np.empty(0, dtype)
        return Jagged.from_lengths(values, np.array([len(row) for row in rows], np.int64))

    @staticmethod
    def from_series(lists: pl.Series) -> "Jagged":
        """View a List column without nulls; nothing is copied if it is one chunk."""
        array = lists.rechunk().to_arrow()
        offsets = pl.Series(array.offsets).to_numpy()  # by Polars, since pyarrow's own to_numpy imports pandas
        values = pl.Series(array.values.slice(offsets[0], offsets[-1] - offsets[0]))
        return Jagged(values.to_numpy(), (offsets - offsets[0]).astype(np.int64, copy=False))

    def to_series(self, name: str) -> pl.Series:
        """The rows as a List column."""
        return as_list_column(pl.Series(self.values), self.offsets, name)

    def keep(self, mask: npt.NDArray[np.bool_]) -> "Jagged":
        """The same rows with only the values that ``mask`` ([total] bool) marks."""
        return self if mask.all() else Jagged.from_lengths(self.values[mask], self.count(mask))

    def count(self, mask: npt.NDArray[np.bool_]) -> Int64:
        """[num_rows] int64: how many values of each row ``mask`` ([total] bool) marks."""
        counts, is_filled = np.zeros(len(self), np.int64), self.lengths > 0
        counts[is_filled] = np.add.reduceat(mask, self.offsets[:-1][is_filled], dtype=np.int64)
        return counts

    def take(self, rows: npt.NDArray[np.integer]) -> "Jagged":
        """The given rows, in the given order."""
        starts = self.offsets[rows]
        lengths = self.offsets[1:][rows] - starts  # of these rows alone, which may be few of many
        offsets = np.concatenate(([0], np.cumsum(lengths)))
        source = np.repeat(starts - offsets[:-1], lengths) + np.arange(offsets[-1])
        return Jagged(self.values[source], offsets)

    def stacked(self, below: "Jagged") -> "Jagged":
        """The rows of this one, then those of ``below``."""
        offsets = np.concatenate((self.offsets, self.offsets[-1] + below.offsets[1:]))
        return Jagged(np.concatenate((self.values, below.values)), offsets)

    def then(self, more: "Jagged") -> "Jagged":
        """Every row followed by the same row of ``more``."""
        in_turn = np.arange(2 * len(self)).reshape(2, -1).T.ravel()
        both = self.stacked(more).take(in_turn)
        return Jagged(both.values, both.offsets[::2])

    def padded(self, fill: float = 0, *, least: int = 0) -> npt.NDArray[Any]:
        """The rows as a matrix, filled up at their ends: [num_rows, length of the longest row, at least ``least``]."""
        is_value = np.arange(max(least, self.lengths.max(initial=0))) < self.lengths[:, None]
        matrix = np.full(is_value.shape, fill, self.values.dtype)
        matrix[is_value] = self.values
        return matrix

    def tail(self, length: int) -> "Jagged":
        """The last ``length`` values of every row."""
        if self.lengths.max(initial=0) <= length:
            return self
        return self.keep(np.arange(len(self.values)) >= np.repeat(self.offsets[1:] - length, self.lengths))


def as_list_column(values: pl.Series, offsets: Int64, name: str) -> pl.Series:
    """Cut a column into a List column: row ``i`` is ``values[offsets[i]:offsets[i + 1]]``."""
    # from a buffer, since pa.array imports pandas
    starts = pa.Array.from_buffers(pa.int64(), len(offsets), [None, pa.py_buffer(np.ascontiguousarray(offsets))])
    return pl.Series(name, pa.LargeListArray.from_arrays(starts, values.rechunk().to_arrow()))


def flatten_lists(lists: pl.Series) -> tuple[pl.Series, Int64]:
    """The elements of a List column, and the length of each row: [num_rows] int64. A null row counts as empty."""
    if not lists.null_count():  # a view, which costs next to nothing: a single request would feel more
        array = lists.rechunk().to_arrow()
        offsets = pl.Series(array.offsets).to_numpy()
        return pl.Series(array.values.slice(offsets[0], offsets[-1] - offsets[0])), np.diff(offsets)
    lengths = lists.list.len().fill_null(0).cast(pl.Int64).to_numpy()
    return lists.filter(pl.Series(lengths > 0)).explode(), lengths
