"""Amazon reviews and metadata of 2014, 2018 and 2023: JSON lines, and ratings alone as CSV."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from recsys.errors import InputError

from .download import Download
from .layout import Column, Layout
from .published_files import read_published

MARKUP = r"</?[A-Za-z]\w*[^>]*>|getTime|\{[^}]*:"  # tags, scripts and styles, which the crawl of 2018 took for text
ASIN = r"^(B[0-9A-Z]{9}|\d{9}[\dX])$"
REVIEWS = (
    Column("user_id", "id", ("reviewerID", "user_id"), required=True),
    Column("item_id", "id", ("parent_asin", "asin"), required=True),
    Column("rating", "number", ("overall", "rating")),
    Column("timestamp", "time", ("unixReviewTime", "timestamp"), required=True),
)


def read_amazon(paths: Sequence[Path], scratch: Path) -> Download:
    """Read files of reviews or ratings and, optionally, of metadata, in any order: each says itself what it holds.

    Args:
        paths: JSON lines or CSV, gzipped or not.
        scratch: An empty folder for interim files.

    Raises:
        InputError: A file cannot be read or recognised, or none holds reviews.
    """
    tables = read_published("Amazon", LAYOUTS, paths, scratch)
    return Download(tables.by_name["events"], tables.by_name.get("items"), notes=tuple(tables.notes))


def _name_ids(raw: pl.LazyFrame, scratch: Path) -> pl.LazyFrame:
    """Name the ids of a file of ratings, which has users first in 2014 and items first in 2018, by what they are."""
    is_asin = raw.select(
        pl.col("user or item", "item or user").str.strip_chars().str.contains(ASIN).mean().fill_null(0.0)
    ).collect()
    first, second = is_asin.row(0)
    if abs(first - second) < 0.9:
        raise InputError(
            f"ratings without a header: {first:.0%} of the first column and {second:.0%} of the second are product "
            "numbers; expected one of them: name the columns in a first line, user_id,parent_asin,rating,timestamp"
        )
    item, user = ("user or item", "item or user") if first > second else ("item or user", "user or item")
    return raw.rename({item: "asin", user: "user_id"})


LAYOUTS = (
    Layout("events", "*.json*", REVIEWS),
    Layout(
        "items",
        "*.json*",
        (
            Column("item_id", "id", ("parent_asin", "asin"), required=True),
            Column("title", "text", ("title",), junk=MARKUP),
            Column("brand", "text", ("brand", "store"), junk=MARKUP),
            Column("categories", "list", ("categories", "category"), junk=MARKUP),
            Column("price", "number", ("price",)),
        ),
        unlike=("reviewerID", "user_id"),
    ),
    Layout("events", "*.csv", REVIEWS, separator=","),
    Layout(
        "events", "*.csv", REVIEWS, separator=",",
        header=("user or item", "item or user", "rating", "timestamp"), prepare=_name_ids,
    ),
)  # fmt: skip
