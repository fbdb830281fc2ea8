"""MIND: the clicks on Microsoft News, and the articles; files without headers."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from recsys.errors import InputError

from .download import Download
from .layout import Column, Layout
from .published_files import read_published

DIGITS = r"^\d+$"
TIME = "%m/%d/%Y %I:%M:%S %p"


def read_mind(paths: Sequence[Path], scratch: Path) -> Download:
    """Read behaviours and, optionally, news, of one part of MIND or of several.

    The clicks of a user's history have an order but no times. All of them come before the log begins, so they are
    placed there, a second apart; of several histories of a user the first counts, since the others have its clicks.

    Args:
        paths: The folders of the parts, or their files.
        scratch: An empty folder for interim files.

    Raises:
        InputError: A file cannot be read or recognised, or none holds clicks.
    """
    tables = read_published("MIND", LAYOUTS, paths, scratch)
    events, steps, time = tables.by_name["events"], pl.col("steps_before"), pl.col("timestamp")
    is_history = steps.is_not_null()
    of_first_history = (~is_history) | (time == time.filter(is_history).min().over("user_id"))
    events = events.filter(of_first_history).unique(maintain_order=True)
    start, num_history = events.select(time.min(), is_history.sum()).collect().row(0)
    if num_history:
        tables.notes.append(
            f"events: clicks of the histories, which have no time and stand before {start}: {num_history:,}"
        )
    before = pl.lit(start).cast(pl.Datetime("us")) - pl.duration(seconds=steps)
    events = events.with_columns(timestamp=pl.when(is_history).then(before).otherwise(time)).drop("steps_before")
    return Download(events, tables.by_name.get("items"), notes=tuple(tables.notes))


def _clicks(raw: pl.LazyFrame, scratch: Path) -> pl.LazyFrame:
    """One row a click, with ``steps`` in those of the histories: 1 in the last, 2 in the one before."""
    has_labels = pl.col("impressions").str.contains(r"-[01]( |$)")
    if not raw.select(has_labels.any()).collect().item():
        raise InputError(
            "behaviors.tsv does not say what was clicked, as N1-1 N2-0; expected MIND's training or dev set"
        )
    shown = raw.select("user", "time", news=pl.col("impressions").str.split(" ")).explode("news")
    clicked = shown.filter(pl.col("news").str.ends_with("-1")).with_columns(pl.col("news").str.strip_suffix("-1"))
    first = pl.col("time").str.to_datetime(TIME, strict=False).arg_min()
    histories = raw.group_by("user", maintain_order=True).agg(pl.col("time", "history").get(first))
    news = pl.col("history").str.split(" ")
    steps = pl.int_ranges(news.list.len(), 0, -1)
    read = histories.filter(pl.col("history") != "").select("user", "time", news=news, steps=steps)
    read = read.explode("news", "steps").with_columns(pl.col("steps").cast(pl.String))
    return pl.concat([read, clicked.with_columns(steps=pl.lit(None, pl.String))])


LAYOUTS = (
    Layout(
        "events",
        "behaviors.tsv",
        (
            Column("user_id", "id", ("user",), junk=DIGITS),  # U13740, where impressions have digits alone
            Column("item_id", "id", ("news",), junk=DIGITS),
            Column("timestamp", "time", ("time",), formats=(TIME,)),
            Column("steps_before", "integer", ("steps",)),
        ),
        separator="\t",
        header=("impression", "user", "time", "history", "impressions"),
        prepare=_clicks,
    ),
    Layout(
        "items",
        "news.tsv",
        (
            Column("item_id", "id", ("news",)),
            Column("title", "text", ("title",)),
            Column("category", "text", ("category",)),
            Column("subcategory", "text", ("subcategory",)),
            Column("abstract", "text", ("abstract",)),
        ),
        separator="\t",
        header=("news", "category", "subcategory", "title", "abstract", "url", "title_entities", "abstract_entities"),
    ),
)
