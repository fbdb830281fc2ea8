"""Last.fm: who listened to which artist, in the collections of 360,000 users, of 1,000 users, and of HetRec 2011."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from .download import Download
from .layout import Column, Layout
from .published_files import read_published, split_off_items

ARTIST = (Column("item_id", "id", ("artist id",)), Column("title", "text", ("artist",)))
PROFILE = (
    Column("user_id", "id", ("#id", "user"), required=True),
    Column("gender", "text", ("gender",), required=True),
    Column("age", "number", ("age",)),
    Column("country", "text", ("country",), required=True),
)
LAYOUTS = (
    Layout(
        "events",
        "usersha1-artmbid-artname-plays.tsv",
        (Column("user_id", "id", ("user",)), *ARTIST, Column("plays", "number", ("plays",))),
        separator="\t",
        header=("user", "artist id", "artist", "plays"),
    ),
    Layout(
        "events",
        "userid-timestamp-artid-artname-traid-traname.tsv",
        (
            Column("user_id", "id", ("user",)),
            *ARTIST,
            Column("timestamp", "time", ("time",), formats=("%Y-%m-%dT%H:%M:%SZ",)),
        ),
        separator="\t",
        header=("user", "time", "artist id", "artist", "track id", "track"),
    ),
    Layout(  # HetRec 2011
        "events",
        "user_artists.dat",
        (
            Column("user_id", "id", ("userID",), required=True),
            Column("item_id", "id", ("artistID",), required=True),
            Column("plays", "number", ("weight",), required=True),
        ),
        separator="\t",
    ),
    Layout(
        "items",
        "artists.dat",
        (Column("item_id", "id", ("id",), required=True), Column("title", "text", ("name",), required=True)),
        separator="\t",
    ),
    Layout("users", "userid-profile.tsv", PROFILE, separator="\t"),
    Layout(
        "users", "usersha1-profile.tsv", PROFILE, separator="\t", header=("user", "gender", "age", "country", "signup")
    ),
)  # fmt: skip


def read_lastfm(paths: Sequence[Path], scratch: Path) -> Download:
    """Read what was listened to and, optionally, the artists and the listeners. The items are artists.

    An artist without a MusicBrainz id has the name as id.

    Args:
        paths: Files of the download, gzipped or not, or the folder that has them.
        scratch: An empty folder for interim files.

    Raises:
        InputError: A file cannot be read or recognised, or none holds events.
    """
    tables = read_published("Last.fm", LAYOUTS, paths, scratch)
    events = tables.by_name["events"]
    if "title" in events.collect_schema():
        without_id = pl.col("item_id").is_null() & pl.col("title").is_not_null()
        count = events.select(without_id.sum()).collect().item()
        tables.notes += [f"events: artists without an id, whose name is taken: {count:,}"] if count else []
        tables.by_name["events"] = events.with_columns(item_id=pl.coalesce("item_id", "title"))
    events, items = split_off_items(tables)
    return Download(events, items, tables.by_name.get("users"), tuple(tables.notes))
