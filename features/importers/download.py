"""What an importer reads from a public download, whatever its format."""

from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

REMEDY = "download it again"


@dataclass(frozen=True)
class Download:
    """The tables of a download, which are read when they are written.

    Attributes:
        events: user_id, item_id, what the download says about the event and, if it says when, timestamp.
        items: item_id, title and what else the download says about items, if it has any.
        users: user_id and what the download says about users, if it has any.
        notes: What was not read, or could not be, in words.
    """

    events: pl.LazyFrame
    items: pl.LazyFrame | None = None
    users: pl.LazyFrame | None = None
    notes: tuple[str, ...] = ()

    def tables(self) -> Iterator[tuple[str, pl.LazyFrame]]:
        """The tables that there are, with their names."""
        for name, table in (("events", self.events), ("items", self.items), ("users", self.users)):
            if table is not None:
                yield name, table
