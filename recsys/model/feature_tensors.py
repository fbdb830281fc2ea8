"""Encoded metadata as tensors: the only place where jagged arrays become KeyedJaggedTensors.

Shape suffixes: N rows of a table (row 0 is "unknown"), M requested rows, F dense numbers.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from torch import Tensor

from ..data import OWN_ID, Int64, Jagged, Transform, distinct_rows
from .embedding_tables import KeyedJaggedTensor
from .model_spec import ModelSpec

Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class FeatureRows:
    """Features of M items or users.

    bags: rows to look up in embedding tables, or None without such features. dense: [M, F] float32, or None.
    as_items: of users, the columns that both towers read, as features of M items of which nothing else is known.
    """

    bags: KeyedJaggedTensor | None
    dense: Tensor | None
    as_items: "FeatureRows | None" = None

    def map(self, change: Callable[[Tensor], Tensor]) -> "FeatureRows":
        """The same with every tensor changed."""
        bags, dense, as_items = self.bags, self.dense, self.as_items
        return FeatureRows(
            bags=None if bags is None else bags.map(change),
            dense=None if dense is None else change(dense),
            as_items=None if as_items is None else as_items.map(change),
        )

    def to(self, device: torch.device) -> "FeatureRows":
        """A copy on another device."""
        return self.map(lambda tensor: tensor.to(device))


def dense_columns(transforms: tuple[Transform, ...]) -> dict[str, slice]:
    """Which of the dense numbers of ``FeatureRows`` are whose, by the feature's name."""
    columns, start = {}, 0
    for transform in transforms:
        if not transform.is_bag:
            columns[transform.name] = slice(start, start := start + transform.size)
    return columns


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
    as_items: of users, the columns that both towers read, as features of N items. is_known: of users, [N] whether any
    value of a row was seen in training; None for items.
    """

    bags: dict[str, Jagged]
    dense: npt.NDArray[np.float32] | None
    as_items: "FeatureTable | None" = None
    is_known: Bool | None = None

    @staticmethod
    def from_frame(transforms: tuple[Transform, ...], frame: pl.DataFrame) -> "FeatureTable":
        """Read the columns that ``encode_features`` returned; row ``i`` of the frame becomes row ``i + 1``.

        A column that the frame lacks is empty in every row.
        """
        columns, bags = dense_columns(transforms), {}
        num_dense = max((part.stop for part in columns.values()), default=0)
        dense = np.zeros((frame.height + 1, num_dense), np.float32)  # filled in place: large ones fit only once
        for transform in transforms:
            if transform.name not in frame.columns:
                column = transform.nothing(frame.height)
            else:
                column = frame.get_column(transform.name)
            column = column.rename("value")  # methods of Polars read some names as patterns
            if transform.is_bag:
                rows = Jagged.from_series(column)
                bags[transform.name] = Jagged(rows.values, np.concatenate(([0], rows.offsets)))
            else:
                dense[1:, columns[transform.name]] = column.to_numpy().reshape(-1, transform.size)
        return FeatureTable(bags, dense if columns else None)

    def only(self, names: Collection[str], transforms: tuple[Transform, ...]) -> "FeatureTable":
        """The same with nothing but these features: of the others a bag is empty, and numbers are 0."""
        bags = {
            name: bag if name in names else Jagged(bag.values[:0], np.zeros_like(bag.offsets))
            for name, bag in self.bags.items()
        }
        if self.dense is None:
            return FeatureTable(bags, None)
        kept = [columns for name, columns in dense_columns(transforms).items() if name in names]
        if not kept:  # takes no memory
            return FeatureTable(bags, np.broadcast_to(np.float32(0), self.dense.shape))
        dense = np.zeros_like(self.dense)
        for columns in kept:
            dense[:, columns] = self.dense[:, columns]
        return FeatureTable(bags, dense)

    @staticmethod
    def of_users(spec: ModelSpec, frame: pl.DataFrame) -> "FeatureTable":
        """The same for users, as the towers of ``spec`` read them."""
        own = FeatureTable.from_frame(spec.own_user_transforms, frame)
        as_items = None
        if spec.shared:
            columns = [frame.get_column(name) for name in spec.shared]
            as_items = FeatureTable.from_frame(spec.item_transforms, pl.DataFrame(columns))
        is_known = np.zeros(frame.height + 1, bool)
        for transform in spec.user_transforms:
            if transform.name != OWN_ID.name:
                is_known[1:] |= transform.is_known(frame.get_column(transform.name))
        return FeatureTable(own.bags, own.dense, as_items, is_known)

    @property
    def own(self) -> "FeatureTable":
        """Without the columns that both towers read."""
        return FeatureTable(self.bags, self.dense)

    def updated(self, rows: Int64, spec: ModelSpec, updates: Sequence[ColumnUpdate]) -> "FeatureTable":
        """The features of some users as a table of their own, with new values in some of its rows.

        Args:
            rows: [M], 0 for unknown.
            spec: That of ``of_users``.
            updates: Their rows count from 0 to M - 1.
        """
        assert self.is_known is not None  # of users
        own = self.changed(rows, spec.own_user_transforms, [u for u in updates if u.name not in spec.shared])
        as_items = None
        if self.as_items is not None:
            shared = [update for update in updates if update.name in spec.shared]
            as_items = self.as_items.changed(rows, spec.item_transforms, shared)
        is_known = self.is_known[rows]
        transforms = {transform.name: transform for transform in spec.user_transforms}
        for update in updates:
            is_known[update.rows] |= transforms[update.name].is_known(update.values)
        return FeatureTable(own.bags, own.dense, as_items, is_known)

    def changed(
        self, rows: Int64, transforms: tuple[Transform, ...], updates: Sequence[ColumnUpdate]
    ) -> "FeatureTable":
        """``updated`` for a table of ``from_frame`` with these transforms."""
        bags = {name: bag.take(rows) for name, bag in self.bags.items()}
        dense = None if self.dense is None else self.dense[rows]
        columns = dense_columns(transforms)
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
        as_items = None if self.as_items is None else self.as_items.take(rows, distinct=distinct)
        bags = {name: bag.take(rows) for name, bag in self.bags.items()}
        return _as_rows(bags, None if self.dense is None else self.dense[rows], as_items, distinct=distinct)

    def take_with(
        self, rows: npt.NDArray[np.integer], users: "FeatureTable", user_rows: Int64, *, distinct: bool
    ) -> FeatureRows:
        """The features of items, followed by what users share with them: tables are looked up once for both.

        Args:
            rows: [M] rows of the items.
            users: A table with ``as_items``.
            user_rows: [B] of its rows.
            distinct: As for ``take``.
        """
        others = users.as_items
        assert others is not None
        bags = {name: bag.take(rows).stacked(others.bags[name].take(user_rows)) for name, bag in self.bags.items()}
        dense = None
        if self.dense is not None and others.dense is not None:
            dense = np.concatenate([self.dense[rows], others.dense[user_rows]])
        return _as_rows(bags, dense, None, distinct=distinct)


def _as_rows(
    bags: dict[str, Jagged], dense: npt.NDArray[np.float32] | None, as_items: FeatureRows | None, *, distinct: bool
) -> FeatureRows:
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
    return FeatureRows(keyed, None if dense is None else torch.from_numpy(dense), as_items)


def id_rows(rows_M: Tensor) -> KeyedJaggedTensor:
    """The input of an embedding collection that looks up one id per entry. rows_M: int64, known to be in the table."""
    offsets = torch.arange(len(rows_M) + 1, device=rows_M.device).unsqueeze(0)
    return KeyedJaggedTensor(keys=["id"], values=rows_M, offsets=offsets, sizes=[len(rows_M)])
