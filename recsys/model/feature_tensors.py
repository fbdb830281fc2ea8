"""Encoded metadata as tensors: the only place where jagged arrays become KeyedJaggedTensors.

Shape suffixes: N rows of a table (row 0 is "unknown"), M requested rows, F dense numbers.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from torch import Tensor

from ..data import Int64, Jagged, Transform, distinct_rows
from .embedding_tables import KeyedJaggedTensor


@dataclass(frozen=True)
class FeatureRows:
    """Features of M items or users.

    bags: rows to look up in embedding tables, or None without such features. dense: [M, F] float32, or None.
    """

    bags: KeyedJaggedTensor | None
    dense: Tensor | None

    def map(self, change: Callable[[Tensor], Tensor]) -> "FeatureRows":
        """The same with every tensor changed."""
        bags, dense = self.bags, self.dense
        return FeatureRows(None if bags is None else bags.map(change), None if dense is None else change(dense))

    def to(self, device: torch.device) -> "FeatureRows":
        """A copy on another device."""
        return self.map(lambda tensor: tensor.to(device))


@dataclass(frozen=True)
class ColumnUpdate:
    """New values of one feature. rows: [n] int64. values: [n], as ``Transform.encode`` returns them."""

    name: str
    rows: Int64
    values: pl.Series


@dataclass(frozen=True)
class FeatureTable:
    """Features of a whole catalogue, or of all users, in memory; row 0 is empty.

    bags: for each feature that is looked up, a Jagged [N] of embedding table rows. dense: [N, F] float32, or None.
    """

    bags: dict[str, Jagged]
    dense: npt.NDArray[np.float32] | None

    @staticmethod
    def from_frame(transforms: tuple[Transform, ...], frame: pl.DataFrame) -> "FeatureTable":
        """Read the columns that ``encode_features`` returned; row ``i`` of the frame becomes row ``i + 1``."""
        bags, dense = {}, []
        for transform in transforms:
            column = frame.get_column(transform.name).rename("value")  # methods of Polars read some names as patterns
            if transform.is_bag:
                rows = Jagged.from_series(column)
                bags[transform.name] = Jagged(rows.values, np.concatenate(([0], rows.offsets)))
            else:
                dense.append(np.pad(column.to_numpy().reshape(-1, transform.size), ((1, 0), (0, 0))))
        return FeatureTable(bags, np.concatenate(dense, axis=1) if dense else None)

    def updated(
        self, rows: Int64, transforms: tuple[Transform, ...], updates: Sequence[ColumnUpdate]
    ) -> "FeatureTable":
        """The features of ``rows`` as a table of their own, with new values in some of its rows.

        Args:
            rows: [M], 0 for unknown.
            transforms: Those of ``from_frame``.
            updates: Their rows count from 0 to M - 1.
        """
        bags = {name: bag.take(rows) for name, bag in self.bags.items()}
        dense = None if self.dense is None else self.dense[rows]
        columns, start = {}, 0  # of the dense numbers
        for transform in transforms:
            if not transform.is_bag:
                columns[transform.name] = slice(start, start := start + transform.size)
        for update in updates:
            if update.name in bags:
                of_row = np.arange(len(rows))
                of_row[update.rows] = len(rows) + np.arange(len(update.rows))
                bags[update.name] = bags[update.name].stacked(Jagged.from_series(update.values)).take(of_row)
            else:
                assert dense is not None  # as configured
                part = columns[update.name]
                dense[update.rows, part] = update.values.to_numpy().reshape(-1, part.stop - part.start)
        return FeatureTable(bags, dense)

    def take(self, rows: npt.NDArray[np.integer], *, distinct: bool = False) -> FeatureRows:
        """The features of ``rows`` as tensors.

        Args:
            rows: [M], 0 for unknown.
            distinct: Whether to say which distinct table rows are looked up. Training needs it, to step these alone.
        """
        bags = {name: bag.take(rows) for name, bag in self.bags.items()}
        values, table_rows = [bag.values for bag in bags.values()], None
        if distinct:
            pairs = [distinct_rows(part) for part in values]
            values, table_rows = [index for _, index in pairs], [torch.from_numpy(part) for part, _ in pairs]
        keyed = KeyedJaggedTensor(
            keys=list(bags),
            values=torch.from_numpy(np.concatenate(values).astype(np.int64)),
            offsets=torch.from_numpy(np.stack([bag.offsets for bag in bags.values()])),
            sizes=[len(part) for part in values],
            rows=table_rows,
        ) if bags else None  # fmt: skip
        return FeatureRows(keyed, None if self.dense is None else torch.from_numpy(self.dense[rows]))


def id_rows(rows_M: Tensor) -> KeyedJaggedTensor:
    """The input of an embedding collection that looks up one id per entry. rows_M: int64, known to be in the table."""
    offsets = torch.arange(len(rows_M) + 1, device=rows_M.device).unsqueeze(0)
    return KeyedJaggedTensor(keys=["id"], values=rows_M, offsets=offsets, sizes=[len(rows_M)])
