"""Steam: reviews, the games that users own, and the games, in the two published collections."""

from collections.abc import Sequence
from pathlib import Path

from .download import Download
from .layout import Column, Layout
from .published_files import read_published, split_off_items

DATE = ("%Y-%m-%d",)
LAYOUTS = (
    Layout(  # steam_reviews.json.gz; few of its rows have a user_id, all have a username
        "events",
        "steam_reviews.json",
        (
            Column("user_id", "id", ("username",), required=True),
            Column("item_id", "id", ("product_id",), required=True),
            Column("hours", "number", ("hours",)),
            Column("timestamp", "time", ("date",), required=True, formats=DATE),
        ),
    ),
    Layout(  # australian_users_items.json.gz: one record a user, without times
        "events",
        "australian_users_items.json",
        (
            Column("user_id", "id", ("user_id",), required=True),
            Column("item_id", "id", ("item_id",)),
            Column("title", "text", ("item_name",)),
            Column("minutes", "number", ("playtime_forever",)),
        ),
        records="items",
    ),
    Layout(  # steam_games.json.gz
        "items",
        "steam_games.json",
        (
            Column("item_id", "id", ("id",), required=True),
            Column("title", "text", ("app_name", "title"), required=True),
            Column("genres", "list", ("genres",)),
            Column("tags", "list", ("tags",)),
            Column("specs", "list", ("specs",)),
            Column("developer", "text", ("developer",)),
            Column("publisher", "text", ("publisher",)),
            Column("price", "number", ("price",)),
        ),
    ),
    Layout(  # the collection on Kaggle
        "events",
        "recommendations.csv",
        (
            Column("user_id", "id", ("user_id",), required=True),
            Column("item_id", "id", ("app_id",), required=True),
            Column("hours", "number", ("hours",)),
            Column("timestamp", "time", ("date",), required=True, formats=DATE),
        ),
        separator=",",
    ),
    Layout(
        "items",
        "games.csv",
        (
            Column("item_id", "id", ("app_id",), required=True),
            Column("title", "text", ("title",), required=True),
            Column("price", "number", ("price_final",)),
        ),
        separator=",",
        unlike=("user_id",),
    ),
)


def read_steam(paths: Sequence[Path], scratch: Path) -> Download:
    """Read files of reviews or of owned games and, optionally, of games.

    Args:
        paths: Files of the download, gzipped or not, or the folder that has them.
        scratch: An empty folder for interim files.

    Raises:
        InputError: A file cannot be read or recognised, or none holds events.
    """
    tables = read_published("Steam", LAYOUTS, paths, scratch)
    events, items = split_off_items(tables)
    return Download(events, items, notes=tuple(tables.notes))
