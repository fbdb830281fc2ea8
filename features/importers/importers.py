"""The importers, and the folder that each of them writes, all or nothing.

To add one, write a module whose ``read_NAME`` turns paths into a ``Download`` (download.py), give it a line in
``IMPORTERS``, and a command in recsys/cli.py, which passes its name to ``recsys.actions.import_download``.

events.parquet    user_id, item_id, rating, timestamp
items.parquet     item_id, title and what the download says about items
users.parquet     user_id and what the download says about users, if it has any
config.toml       a first configuration that names these files
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from recsys import files
from recsys.config import FeatureKind
from recsys.errors import InputError

from .amazon import read_amazon
from .download import Download
from .movielens import read_movielens


@dataclass(frozen=True)
class Importer:
    """How one kind of download is read.

    Attributes:
        read: From the paths given on the command line to the tables. Raises InputError on anything but such a download.
        item_features: The columns of the items that a first configuration names as features.
    """

    read: Callable[[Sequence[Path]], Download]
    item_features: dict[str, FeatureKind]


IMPORTERS = {
    "movielens": Importer(read_movielens, {"genres": "multi_categorical", "title": "text", "year": "numeric"}),
    "amazon": Importer(
        read_amazon,
        {"brand": "categorical", "categories": "multi_categorical", "title": "text", "price": "numeric"},
    ),
}


def convert_download(name: str, paths: Sequence[Path], out: Path) -> dict[str, int]:
    """Convert a public download to Parquet and a first configuration.

    Args:
        name: A key of ``IMPORTERS``.
        paths: The files or the folder of the download.
        out: The folder to write; it must not exist, or be empty.

    Returns:
        The number of rows by table.

    Raises:
        InputError: The download cannot be read, or ``out`` holds something. Nothing is left at ``out``.
    """
    importer = IMPORTERS[name]
    if not files.is_vacant(out):
        raise InputError(f"{out} exists; choose another --out or remove it")
    download = importer.read(paths)
    with files.replacing(out, directory=True) as folder:
        for table_name, table in download.tables():
            table.write_parquet(folder / f"{table_name}.parquet")
        (folder / "config.toml").write_text(_first_config(download, importer, out.resolve().name), "utf-8")
    return {table_name: table.height for table_name, table in download.tables()}


def _first_config(download: Download, importer: Importer, model: str) -> str:
    events, *metadata = (f'{name} = "{name}.parquet"' for name, _ in download.tables())
    lines = ["[data]", events, 'time = "timestamp"', *metadata]
    if download.items is not None:
        for name, kind in importer.item_features.items():
            lines += ["", "[[features.item]]", f'name = "{name}"', f'kind = "{kind}"']
    lines += ["", "[registry]", f"name = {json.dumps(model)}"]  # a model of its own, not the next version of another
    return "\n".join(lines) + "\n"
