"""The importers, and the folder that each of them writes, all or nothing.

To add one, write a module whose ``read_NAME`` turns paths into a ``Download`` (download.py), most of it a table of
layouts (layout.py); give it a line in ``IMPORTERS``, and its name a place in ``ImporterName``
of recsys/actions/flags.py.

events.parquet    user_id, item_id, what the download says about events and, if it says when, timestamp
items.parquet     item_id, title and what the download says about items, if it has any
users.parquet     user_id and what the download says about users, if it has any
config.toml       a first configuration that names these files
"""

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from recsys import files
from recsys.config import FeatureKind
from recsys.data import input_error_if_unreadable
from recsys.errors import InputError

from .amazon import read_amazon
from .download import REMEDY, Download
from .goodreads import read_goodreads
from .hm import TEXTS as ARTICLE_TEXTS, read_hm
from .lastfm import read_lastfm
from .mind import read_mind
from .movielens import read_movielens
from .retailrocket import read_retailrocket
from .steam import read_steam
from .yelp import read_yelp

REQUIRED = {"events": ("user_id", "item_id", "timestamp"), "items": ("item_id",), "users": ("user_id",)}


@dataclass(frozen=True)
class Importer:
    """How one kind of download is read.

    Attributes:
        read: From the paths given on the command line, and an empty folder for interim files, to the tables. Raises
            InputError on anything but such a download.
        item_features: The columns of the items that a first configuration names as features.
    """

    read: Callable[[Sequence[Path], Path], Download]
    item_features: dict[str, FeatureKind]


@dataclass(frozen=True)
class Imported:
    """What was written. rows: by table. notes: what was left out, not read, or could not be, in words."""

    rows: dict[str, int]
    notes: list[str]


IMPORTERS = {
    "movielens": Importer(read_movielens, {"genres": "multi_categorical", "title": "text", "year": "numeric"}),
    "amazon": Importer(
        read_amazon,
        {"brand": "categorical", "categories": "multi_categorical", "title": "text", "price": "numeric"},
    ),
    "steam": Importer(
        read_steam,
        {
            "genres": "multi_categorical", "tags": "multi_categorical", "specs": "multi_categorical",
            "developer": "categorical", "publisher": "categorical", "title": "text", "price": "numeric",
        },
    ),
    "goodreads": Importer(
        read_goodreads,
        {
            "authors": "multi_categorical", "shelves": "multi_categorical", "publisher": "categorical",
            "language": "categorical", "title": "text", "year": "numeric", "pages": "numeric",
        },
    ),
    "retailrocket": Importer(read_retailrocket, {"category": "categorical", "parent_category": "categorical"}),
    "mind": Importer(
        read_mind, {"category": "categorical", "subcategory": "categorical", "title": "text", "abstract": "text"}
    ),
    "yelp": Importer(
        read_yelp,
        {
            "categories": "multi_categorical", "city": "categorical", "state": "categorical", "title": "text",
            "latitude": "numeric", "longitude": "numeric",
        },
    ),
    "hm": Importer(
        read_hm, {**dict.fromkeys(ARTICLE_TEXTS, "categorical"), "title": "text", "description": "text"}
    ),
    "lastfm": Importer(read_lastfm, {"title": "text"}),
}  # fmt: skip


def convert_download(name: str, paths: Sequence[Path], out: Path) -> Imported:
    """Convert a public download to Parquet and a first configuration.

    Args:
        name: A key of ``IMPORTERS``.
        paths: The files or the folder of the download.
        out: The folder to write; it must not exist, or be empty.

    Raises:
        InputError: The download cannot be read, or ``out`` holds something. Nothing is left at ``out``.
    """
    importer = IMPORTERS[name]
    if not files.is_vacant(out):
        raise InputError(f"{out} exists; choose another --out or remove it")
    with files.replacing(out, directory=True) as folder:
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            download = importer.read(paths, Path(scratch))
            notes = list(download.notes)
            with input_error_if_unreadable(f"the download at {', '.join(map(str, paths))}", REMEDY):
                schemas = {
                    table_name: _write(table, table_name, folder / f"{table_name}.parquet", notes)
                    for table_name, table in download.tables()
                }
        rows = {table_name: _num_rows(folder / f"{table_name}.parquet") for table_name in schemas}
        if not rows["events"]:
            raise InputError(f"no event is left ({'; '.join(notes)}); {REMEDY}, or check what {name} is made of")
        features = {
            column: kind for column, kind in importer.item_features.items() if column in schemas.get("items", ())
        }
        (folder / "config.toml").write_text(_first_config(schemas, features, out.resolve().name), "utf-8")
    return Imported(rows, notes)


def _write(table: pl.LazyFrame, name: str, path: Path, notes: list[str]) -> list[str]:
    """Write the rows of a table that have what they need, metadata once for every id; return the columns' names."""
    columns = table.collect_schema().names()
    required = [column for column in REQUIRED[name] if column in columns]
    num_rows, *missing = table.select(pl.len(), *(pl.col(column).null_count() for column in required)).collect().row(0)
    notes += [
        f"{name}: rows left out without {column}: {count:,}"
        for column, count in zip(required, missing, strict=True)
        if count
    ]
    kept = table.drop_nulls(required)
    if name != "events":
        kept = kept.unique(required, keep="first", maintain_order=True)
    kept.sink_parquet(path)
    repeated = num_rows - max(missing) - _num_rows(path)
    notes += [f"{name}: rows left out that repeat an id: {repeated:,}"] if name != "events" and repeated else []
    return columns


def _num_rows(path: Path) -> int:
    return int(pl.scan_parquet(path, glob=False).select(pl.len()).collect().item())


def _first_config(schemas: Mapping[str, Sequence[str]], features: Mapping[str, FeatureKind], model: str) -> str:
    events, *metadata = (f'{name} = "{name}.parquet"' for name in schemas)
    time = ['time = "timestamp"'] if "timestamp" in schemas["events"] else []
    lines = ["[data]", events, *time, *metadata]
    for name, kind in features.items():
        lines += ["", "[[features.item]]", f'name = "{name}"', f'kind = "{kind}"']
    lines += ["", "[registry]", f"name = {json.dumps(model)}"]  # a model of its own, not the next version of another
    return "\n".join(lines) + "\n"
