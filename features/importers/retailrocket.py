"""RetailRocket: a shop's events, the changes of its items' properties, and the tree of its categories."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from .download import Download
from .layout import Column, Layout
from .published_files import read_published

LAYOUTS = (
    Layout(
        "events",
        "events.csv",
        (
            Column("user_id", "id", ("visitorid",), required=True),
            Column("item_id", "id", ("itemid",), required=True),
            Column("event", "text", ("event",), required=True),
            Column("timestamp", "time", ("timestamp",), required=True),
        ),
        separator=",",
    ),
    Layout(
        "items",
        "item_properties*.csv",
        (
            Column("item_id", "id", ("itemid",), required=True),
            Column("property", "text", ("property",), required=True),
            Column("category", "text", ("value",), required=True),
            Column("changed", "time", ("timestamp",), required=True),
        ),
        separator=",",
    ),
    Layout(
        "other",
        "category_tree.csv",
        (
            Column("category", "id", ("categoryid",), required=True),
            Column("parent_category", "id", ("parentid",), required=True),
        ),
        separator=",",
    ),
)


def read_retailrocket(paths: Sequence[Path], scratch: Path) -> Download:
    """Read the events and, optionally, the categories of the items.

    An item has the category that it had last. Its other properties are published as hashes and are not read.

    Args:
        paths: Files of the download, or the folder that has them.
        scratch: An empty folder for interim files.

    Raises:
        InputError: A file cannot be read or recognised, or none holds events.
    """
    tables = read_published("RetailRocket", LAYOUTS, paths, scratch)
    items, tree = tables.by_name.get("items"), tables.by_name.get("other")
    if items is not None:
        tables.notes.append("items: of their properties only categoryid is read; the others are hashes")
        of_category = items.filter(pl.col("property") == "categoryid").sort("item_id", "changed")
        items = of_category.select("item_id", "category").unique("item_id", keep="last", maintain_order=True)
        if tree is not None:
            items = items.join(tree.unique("category", keep="first"), on="category", how="left", maintain_order="left")
    return Download(tables.by_name["events"], items, notes=tuple(tables.notes))
