import typing
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from features.importers import importers
from features.importers.download import Download
from features.importers.importers import IMPORTERS, Importer, convert_download
from recsys.actions import ImporterName, run
from recsys.config import load_config

EVENTS = pl.DataFrame({"user_id": [1], "item_id": [2], "rating": [3.0], "timestamp": [4]})
COMMANDS = typing.get_args(ImporterName)
ITEMS = pl.DataFrame({"item_id": [2], "title": ["a"]})


def test_a_new_importer_is_one_entry_in_the_table(tmp_path, monkeypatch):
    monkeypatch.setitem(
        IMPORTERS, "mine", Importer(lambda paths, scratch: Download(EVENTS.lazy(), ITEMS.lazy()), {"title": "text"})
    )
    assert convert_download("mine", [], tmp_path / "out").rows == {"events": 1, "items": 1}
    assert pl.read_parquet(tmp_path / "out" / "items.parquet").equals(ITEMS)
    config = load_config(tmp_path / "out" / "config.toml")
    assert (config.data.time, config.data.events) == ("timestamp", str(tmp_path / "out" / "events.parquet"))
    assert [(feature.name, feature.kind) for feature in config.features.item] == [("title", "text")]


def test_a_download_of_events_alone_names_no_feature(tmp_path, monkeypatch):
    monkeypatch.setitem(IMPORTERS, "mine", Importer(lambda paths, scratch: Download(EVENTS.lazy()), {"title": "text"}))
    convert_download("mine", [], tmp_path / "out")
    config = load_config(tmp_path / "out" / "config.toml")
    assert (config.data.items, config.features.item) == (None, ())


def test_an_existing_folder_is_never_written_to(tmp_path, monkeypatch):
    monkeypatch.setitem(importers.IMPORTERS, "mine", Importer(lambda paths, scratch: Download(EVENTS.lazy()), {}))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()
    with pytest.raises(ValueError, match="exists; choose another --out"):
        convert_download("mine", [], tmp_path)


def test_the_command_line_and_the_guide_name_every_importer():
    guide = (Path(__file__).parents[3] / "docs" / "guides" / "own-data.md").read_text()
    assert set(COMMANDS) == set(IMPORTERS)
    assert all(f"| `{name}` | " in guide for name in IMPORTERS)


def test_rows_that_lack_an_id_or_a_time_or_repeat_one_are_left_out_and_counted(tmp_path, monkeypatch):
    events = pl.LazyFrame({
        "user_id": ["u", None, "u", "v"], "item_id": ["i", "i", None, "i"], "timestamp": [1, 2, 3, None]
    })  # fmt: skip
    items = pl.LazyFrame({"item_id": ["i", "i", None], "title": ["a", "b", "c"]})
    monkeypatch.setitem(IMPORTERS, "mine", Importer(lambda paths, scratch: Download(events, items, notes=("n",)), {}))
    imported = convert_download("mine", [], tmp_path / "out")
    assert imported.rows == {"events": 1, "items": 1}
    assert imported.notes == [
        "n", "events: rows left out without user_id: 1", "events: rows left out without item_id: 1",
        "events: rows left out without timestamp: 1", "items: rows left out without item_id: 1",
        "items: rows left out that repeat an id: 1",
    ]  # fmt: skip
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "config.toml", "events.parquet", "items.parquet",
    ]  # fmt: skip


def test_a_download_without_an_event_is_refused(tmp_path, monkeypatch):
    events = pl.LazyFrame({"user_id": [None], "item_id": ["i"]})
    monkeypatch.setitem(IMPORTERS, "mine", Importer(lambda paths, scratch: Download(events), {}))
    with pytest.raises(ValueError, match=r"no event is left \(events: rows left out without user_id: 1\)"):
        convert_download("mine", [], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_imported_configuration_runs(import_files):
    rng = np.random.default_rng(0)
    header = "timestamp,visitorid,event,itemid,transactionid\n"
    rows = [f"{1433221332000 + 1000 * n},{rng.integers(40)},view,{rng.integers(30)},\n" for n in range(600)]
    properties = "".join(f"1433221332000,{item},categoryid,{item % 3}\n" for item in range(30))
    shop = import_files(
        "retailrocket",
        {"events.csv": header + "".join(rows), "item_properties.csv": f"timestamp,itemid,property,value\n{properties}"},
    )
    small = ["training.epochs=1", "model.embedding_dim=8", "loss.num_negatives=16", "model.num_members=1"]
    finished = run(shop.folder / "config.toml", shop.folder / "run", small, f"sqlite:///{shop.folder}/mlflow.db")
    assert (finished.name, finished.statistics["users"]) == ("out", 40)
    assert (shop.folder / "run" / "report.html").is_file()
