"""Yelp's open data set: reviews and businesses, as JSON lines."""

from collections.abc import Sequence
from pathlib import Path

from .download import Download
from .layout import Column, Layout
from .published_files import read_published

LAYOUTS = (
    Layout(
        "events",
        "*review.json",
        (
            Column("user_id", "id", ("user_id",), required=True),
            Column("item_id", "id", ("business_id",), required=True),
            Column("rating", "number", ("stars",), required=True),
            Column("timestamp", "time", ("date",), required=True, formats=("%Y-%m-%d %H:%M:%S", "%Y-%m-%d")),
        ),
    ),
    Layout(  # stars and counts of reviews are left out: they know the future
        "items",
        "*business.json",
        (
            Column("item_id", "id", ("business_id",), required=True),
            Column("title", "text", ("name",), required=True),
            Column("categories", "list", ("categories",), separator=","),
            Column("city", "text", ("city",)),
            Column("state", "text", ("state",)),
            Column("latitude", "number", ("latitude",)),
            Column("longitude", "number", ("longitude",)),
        ),
        unlike=("user_id",),
    ),
)


def read_yelp(paths: Sequence[Path], scratch: Path) -> Download:
    """Read files of reviews and, optionally, of businesses.

    Args:
        paths: Files of the download, gzipped or not, or the folder that has them.
        scratch: An empty folder for interim files.

    Raises:
        InputError: A file cannot be read or recognised, or none holds reviews.
    """
    tables = read_published("Yelp", LAYOUTS, paths, scratch)
    return Download(tables.by_name["events"], tables.by_name.get("items"), notes=tuple(tables.notes))
