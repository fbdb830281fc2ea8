"""Jagged rows of several shards behind one view: they stay mapped, and a row is read only when it is taken."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from .factorize import Int32, Int64, count_codes
from .jagged import Jagged

VALUES_AT_ONCE = 1 << 20


@dataclass(frozen=True)
class ValidatedHistories:
    """Histories of validation queries, each followed by its targets, in catalogue positions.

    Attributes:
        history, targets: Codes, as the dataset's files hold them.
        positions: [num codes] int32 catalogue positions; values with 0 are left out.
    """

    history: Jagged
    targets: Jagged
    positions: Int32

    @cached_property
    def lengths(self) -> Int64:
        """[num_rows] int64."""
        blocks = _row_blocks(self.history.lengths + self.targets.lengths)
        return np.concatenate([self.take(rows).lengths for rows in blocks])

    def take(self, rows: Int64) -> Jagged:
        """The given rows, in the given order."""
        codes = self.history.take(rows).then(self.targets.take(rows))
        positions = self.positions[codes.values]
        return Jagged(positions, codes.offsets).keep(positions > 0)


@dataclass(frozen=True)
class JaggedParts:
    """Rows of several parts, of which none is copied.

    Attributes:
        parts: At least one.
        rows: [num_rows] int64, which rows of the parts one after the other; None: all of them.
    """

    parts: Sequence[Jagged | ValidatedHistories]
    rows: Int64 | None = None

    def __len__(self) -> int:
        return len(self.lengths)

    @cached_property
    def lengths(self) -> Int64:
        """[num_rows] int64."""
        lengths = np.concatenate([part.lengths for part in self.parts])
        return lengths if self.rows is None else lengths[self.rows]

    @property
    def num_values(self) -> int:
        """The length of all rows together."""
        return int(self.lengths.sum())

    @cached_property
    def _starts(self) -> Int64:
        """[num parts] int64: the number of each part's first row."""
        return np.cumsum([0, *(len(part.lengths) for part in self.parts[:-1])])

    def select(self, rows: Int64) -> "JaggedParts":
        """A view of the given rows, in the given order."""
        return replace(self, rows=rows if self.rows is None else self.rows[rows])

    def take(self, rows: Int64) -> Jagged:
        """A copy of the given rows, in the given order."""
        rows = rows if self.rows is None else self.rows[rows]
        if len(self.parts) == 1:
            return self.parts[0].take(rows)
        order = np.argsort(rows, kind="stable")
        by_part = np.split(rows[order], np.searchsorted(rows[order], self._starts[1:]))
        taken = [part.take(some - start) for part, some, start in zip(self.parts, by_part, self._starts, strict=True)]
        values, lengths = (np.concatenate([getattr(some, name) for some in taken]) for name in ("values", "lengths"))
        return Jagged.from_lengths(values, lengths).take(np.argsort(order))

    def blocks(self) -> Iterator[Jagged]:
        """Copies of all rows in turn, about ``VALUES_AT_ONCE`` values at a time."""
        return (self.take(rows) for rows in _row_blocks(self.lengths))

    def whole(self) -> Jagged:
        """All rows in memory; a view, if they are one part."""
        part = self.parts[0]
        if len(self.parts) == 1 and self.rows is None and isinstance(part, Jagged):
            return part
        return Jagged.from_lengths(np.concatenate([block.values for block in self.blocks()]), self.lengths)

    def count_codes(self, num_codes: int) -> Int64:
        """[num_codes] int64: how often each code occurs."""
        counts = np.zeros(num_codes, np.int64)
        for block in self.blocks():
            counts += count_codes(block.values, num_codes)
        return counts


def _row_blocks(lengths: Int64) -> list[Int64]:
    """All rows, in blocks of about ``VALUES_AT_ONCE`` values. lengths: of the rows."""
    ends = np.cumsum(lengths)
    cuts = np.searchsorted(ends, np.arange(VALUES_AT_ONCE, ends[-1] if len(ends) else 0, VALUES_AT_ONCE))
    return np.array_split(np.arange(len(lengths)), cuts)
