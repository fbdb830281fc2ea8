"""The rows of a catalogue that a table of items changes, found and put in place without a look at the others.

Shape suffixes: M rows that change.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import polars as pl

from ..answers import REMOVED
from ..data import Encoder, Int64
from ..model import ItemEncoder
from .fresh_metadata import is_removed

FEW = 1_000  # rows, for which the pieces between them are copied faster than every row for itself


@dataclass(frozen=True)
class LiveItems:
    """What a retriever with newer items keeps for the next change.

    base: The items of the bundle. touched: ascending positions at which the catalogue may differ from them. encoder:
    None until an item was encoded.
    """

    base: pl.DataFrame
    touched: Int64 = field(default_factory=lambda: np.empty(0, np.int64))
    encoder: ItemEncoder | None = None


@dataclass(frozen=True)
class ChangedRows:
    """What a table changes in a catalogue.

    positions: [M] ascending; the last ones are those of new items. rows: [M] rows of metadata, item_id among them.
    items: the catalogue with them. named: the positions of all rows of the table.
    """

    positions: Int64
    rows: pl.DataFrame
    items: pl.DataFrame
    named: Int64

    @staticmethod
    def of(
        items: pl.DataFrame,
        encoder: Encoder,
        table: pl.DataFrame,
        *,
        base: pl.DataFrame,
        earlier: Int64,
        complete: bool,
    ) -> "ChangedRows":
        """Compare a table with a catalogue.

        Args:
            items: The catalogue.
            encoder: Its ids.
            table: In the types of the catalogue. Unknown ids become new items if the model reads item features.
            base: An earlier state of the catalogue, or itself: what a row has in columns that the table lacks.
            earlier: Positions of rows that may differ from ``base``. Where the table lacks them they are as in
                ``base`` again, or removed if it lacks them as well.
            complete: Whether everything that the table lacks is removed.
        """
        table = table.drop(REMOVED, strict=False).sort("item_id")  # the order of new items
        at = encoder.positions(table.get_column("item_id")).astype(np.int64)
        if encoder.item_transforms:
            at[at == 0] = encoder.num_items + 1 + np.arange(np.count_nonzero(at == 0))
        else:
            table, at = table.filter(pl.Series(at > 0)), at[at > 0]
        lost = np.setdiff1d(earlier, at)
        restored, gone = lost[lost <= base.height], lost[lost > base.height]
        rows = pl.concat([_completed(table, at, base), base.drop(REMOVED, strict=False)[restored - 1]], how="diagonal")
        positions = np.concatenate((at, restored))
        is_gone = is_removed(items)
        differs = _differs(items, rows, positions)
        differs[positions <= items.height] |= is_gone[positions[positions <= items.height] - 1]
        order = np.argsort(positions, kind="stable")
        order = order[differs[order]]
        changed, rows = positions[order], rows[order]
        updated = with_rows(items.drop(REMOVED, strict=False), changed, rows)
        flags = np.zeros(updated.height, bool)
        flags[: len(is_gone)] = is_gone
        flags[at - 1] = False
        flags[restored - 1] = is_removed(base)[restored - 1]
        flags[gone - 1] = True
        if complete:
            flags[:] = True
            flags[at - 1] = False
        if flags.any():
            updated = updated.with_columns(pl.Series(REMOVED, flags))
        return ChangedRows(changed, rows, updated, at)


def with_rows(frame: pl.DataFrame, positions: Int64, rows: pl.DataFrame) -> pl.DataFrame:
    """A frame with rows at some positions, counted from 1; those beyond its end are the next ones, in order."""
    if not rows.height and set(rows.columns) <= set(frame.columns):
        return frame
    if len(positions) > FEW:
        height = max(frame.height, int(positions[-1]))
        row_of = np.arange(height)
        row_of[positions - 1] = frame.height + np.arange(len(positions))
        return pl.concat([frame, rows], how="diagonal")[row_of]
    parts, start = [frame.head(0)], 0
    for row, position in enumerate(positions.tolist()):
        parts += [frame[start : position - 1], rows[row : row + 1]]
        start = position
    return pl.concat([*parts, frame[start:], rows.head(0)], how="diagonal", rechunk=True)


def _completed(table: pl.DataFrame, positions: Int64, base: pl.DataFrame) -> pl.DataFrame:
    """Rows of a table with what ``base`` has in other columns at these positions; null for new items."""
    lacking = [name for name in base.columns if name not in table.columns and name != REMOVED]
    if not lacking:
        return table
    in_base = np.where(positions <= base.height, positions - 1, 0)
    others = base[in_base].select(lacking)
    is_new = pl.Series(positions > base.height)
    return table.hstack(others.select(pl.when(~is_new).then(pl.col(name)).alias(name) for name in lacking))


def _differs(items: pl.DataFrame, rows: pl.DataFrame, positions: Int64) -> npt.NDArray[np.bool_]:
    """[rows] bool: whether they differ from those of a catalogue at these positions, or are new."""
    known = positions <= items.height
    former = items[np.where(known, positions - 1, 0)]
    names = [name for name in dict.fromkeys([*items.columns, *rows.columns]) if name != REMOVED]
    now, before = (
        _columns(frame, names, pl.concat([items.head(0), rows.head(0)], how="diagonal").schema)
        for frame in (rows, former)
    )
    differs: npt.NDArray[np.bool_] = (before.hash_rows() != now.hash_rows()).to_numpy()
    return differs | ~known


def _columns(frame: pl.DataFrame, names: list[str], schema: pl.Schema) -> pl.DataFrame:
    return frame.select(
        pl.col(name) if name in frame.columns else pl.lit(None, schema[name]).alias(name) for name in names
    )
