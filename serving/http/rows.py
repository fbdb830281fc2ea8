"""Items as rows of JSON."""

from collections.abc import Mapping, Sequence

import polars as pl

from ..service import Served
from .schema import Row


def item_rows(
    served: Served, item_ids: pl.Series, figures: Mapping[str, pl.Series], columns: Sequence[str]
) -> list[Row]:
    """A row for each item: its id, its figures, and the metadata columns that were asked for.

    Raises:
        InputError: The catalogue has no such column.
    """
    named = {"item_id": item_ids, **figures}
    if columns:
        metadata = served.item_columns(item_ids, [name for name in dict.fromkeys(columns) if name not in named])
        named |= {column.name: column for column in metadata}
    return [
        dict(zip(named, values, strict=True))
        for values in zip(*(values.to_list() for values in named.values()), strict=True)
    ]
