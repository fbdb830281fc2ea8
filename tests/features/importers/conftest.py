"""Tiny downloads, written as they are published."""

import gzip
import json
from types import SimpleNamespace

import polars as pl
import pytest

from features.importers.importers import convert_download
from recsys.config import load_config


def lines(*rows):
    return "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)


@pytest.fixture
def import_files(tmp_path):
    """A function: an importer's name and texts by file name to what was imported. Names that end in .gz are gzipped."""

    def make(name, files, *, as_folder=False):
        source = tmp_path / "source"
        source.mkdir(exist_ok=True)
        for file, text in files.items():
            (source / file).write_bytes(gzip.compress(text.encode()) if file.endswith(".gz") else text.encode())
        paths = [source] if as_folder else [source / file for file in files]
        imported = convert_download(name, paths, tmp_path / "out")
        tables = {table: pl.read_parquet(tmp_path / "out" / f"{table}.parquet") for table in imported.rows}
        config = load_config(tmp_path / "out" / "config.toml")
        return SimpleNamespace(
            **tables, rows=imported.rows, notes=imported.notes, config=config, folder=tmp_path / "out",
            features={feature.name for feature in config.features.item},
        )  # fmt: skip

    return make
