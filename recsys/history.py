"""Histories as jagged arrays: one values array and one offsets array, never a list per user."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Jagged:
    """Rows of unequal length. Row ``i`` is ``values[offsets[i]:offsets[i + 1]]``.

    values: [total] int32 (any dtype is carried through). offsets: [num_rows + 1] int64, from 0, never falling.
    """

    values: npt.NDArray[np.generic]
    offsets: Int64

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> npt.NDArray[np.generic]:
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
    def from_lengths(values: npt.NDArray[np.generic], lengths: npt.NDArray[np.integer]) -> "Jagged":
        """Cut ``values`` into rows of the given lengths; they must add up to ``len(values)``."""
        return Jagged(values, np.concatenate(([0], np.cumsum(lengths, dtype=np.int64))))

    @staticmethod
    def from_rows(rows: list[npt.NDArray[np.generic]] | list[list[int]], dtype: npt.DTypeLike = np.int32) -> "Jagged":
        """Pack a list of arrays; for single requests and tests, not for logs."""
        values = np.concatenate([np.asarray(row, dtype) for row in rows]) if rows else np.empty(0, dtype)
        return Jagged.from_lengths(values, np.array([len(row) for row in rows], np.int64))

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
