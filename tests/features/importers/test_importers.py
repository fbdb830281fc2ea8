import polars as pl
import pytest

from features.importers import importers
from features.importers.download import Download
from features.importers.importers import IMPORTERS, Importer, convert_download
from recsys.config import load_config

EVENTS = pl.DataFrame({"user_id": [1], "item_id": [2], "rating": [3.0], "timestamp": [4]})
ITEMS = pl.DataFrame({"item_id": [2], "title": ["a"]})


def test_a_new_importer_is_one_entry_in_the_table(tmp_path, monkeypatch):
    monkeypatch.setitem(IMPORTERS, "mine", Importer(lambda paths: Download(EVENTS, ITEMS), {"title": "text"}))
    assert convert_download("mine", [], tmp_path / "out") == {"events": 1, "items": 1}
    assert pl.read_parquet(tmp_path / "out" / "items.parquet").equals(ITEMS)
    config = load_config(tmp_path / "out" / "config.toml")
    assert (config.data.time, config.data.events) == ("timestamp", str(tmp_path / "out" / "events.parquet"))
    assert [(feature.name, feature.kind) for feature in config.features.item] == [("title", "text")]


def test_a_download_of_events_alone_names_no_feature(tmp_path, monkeypatch):
    monkeypatch.setitem(IMPORTERS, "mine", Importer(lambda paths: Download(EVENTS), {"title": "text"}))
    convert_download("mine", [], tmp_path / "out")
    config = load_config(tmp_path / "out" / "config.toml")
    assert (config.data.items, config.features.item) == (None, ())


def test_an_existing_folder_is_never_written_to(tmp_path, monkeypatch):
    monkeypatch.setitem(importers.IMPORTERS, "mine", Importer(lambda paths: Download(EVENTS), {}))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()
    with pytest.raises(ValueError, match="exists; choose another --out"):
        convert_download("mine", [], tmp_path)
