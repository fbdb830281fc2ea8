"""Goodreads: interactions and reviews as JSON lines, or all interactions as one CSV without times; and the books."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from recsys.errors import InputError

from .download import Download
from .layout import Column, Layout
from .published_files import read_published

IDS = (Column("user_id", "id", ("user_id",), required=True), Column("item_id", "id", ("book_id",), required=True))
INTERACTIONS_CSV = Layout(
    "events",
    "goodreads_interactions*.csv",
    (*IDS, Column("rating", "number", ("rating",)), Column("is_read", "text", ("is_read",), required=True)),
    separator=",",
)
LAYOUTS = (
    Layout(
        "events",
        "goodreads_[ir]*.json",
        (
            *IDS,
            Column("rating", "number", ("rating",)),
            Column("is_read", "text", ("is_read",)),
            Column("timestamp", "time", ("date_added",), required=True, formats=("%a %b %d %H:%M:%S %z %Y",)),
        ),
    ),
    Layout(
        "items",
        "goodreads_books*.json",
        (
            Column("item_id", "id", ("book_id",), required=True),
            Column("title", "text", ("title",), required=True),
            Column("authors", "list", ("authors",), member="author_id"),
            Column("publisher", "text", ("publisher",)),
            Column("language", "text", ("language_code",)),
            Column("shelves", "list", ("popular_shelves",), member="name"),
            Column("year", "number", ("publication_year",)),
            Column("pages", "number", ("num_pages",)),
        ),
        unlike=("user_id",),
    ),
    INTERACTIONS_CSV,
    Layout(
        "other",
        "book_id_map.csv",
        (Column("csv_id", "id", ("book_id_csv",), required=True), Column("book_id", "id", ("book_id",), required=True)),
        separator=",",
    ),
)


def read_goodreads(paths: Sequence[Path], scratch: Path) -> Download:
    """Read files of interactions or reviews and, optionally, of books.

    The books of the CSV have numbers of its own, which ``book_id_map.csv`` translates into those of the JSON files.

    Args:
        paths: Files of the download, gzipped or not, or the folder that has them.
        scratch: An empty folder for interim files.

    Raises:
        InputError: A file cannot be read or recognised, none holds events, or the numbers of books do not agree.
    """
    tables = read_published("Goodreads", LAYOUTS, paths, scratch)
    events, items, numbers = (tables.by_name.get(name) for name in ("events", "items", "other"))
    assert events is not None
    if INTERACTIONS_CSV in tables.sources["events"]:
        if items is not None and numbers is None:
            raise InputError(
                "the books of the CSV of interactions have other numbers than those of the JSON files; expected "
                "book_id_map.csv, too: name it beside them, or import the CSV without books"
            )
        if numbers is not None:
            events = events.join(numbers, left_on="item_id", right_on="csv_id", how="left", maintain_order="left")
            events = events.with_columns(item_id=pl.col("book_id")).drop("book_id")
    return Download(events, items, notes=tuple(tables.notes))
