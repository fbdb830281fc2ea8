"""Tables that are read again when they change: a damaged one keeps what was read before, and says so."""

import time

import polars as pl
import pytest

from recsys.errors import InputError
from recsys.retriever import Query
from recsys.search import FreshIndex
from serving.service import Service, Settings
from serving.service.watched import Watched


def test_a_change_is_seen_once_even_if_it_cannot_be_read(tmp_path):
    path = tmp_path / "items.parquet"
    read = []

    def take(served, location):
        if "bad" in path.read_text():
            raise InputError("bad")
        read.append(location)
        return served

    path.write_text("one")
    watched = Watched("items", str(path), take)
    assert watched.has_changed()
    watched.added_to(None)
    assert not watched.has_changed()
    path.write_text("bad table")
    assert watched.has_changed()
    with pytest.raises(InputError):
        watched.added_to(None)
    assert (watched.has_changed(), watched.fault) == (False, "bad")
    watched.forget()
    assert watched.has_changed()
    path.unlink()
    assert watched.has_changed()
    assert not Watched("items", None, take).has_changed()


def wait_for(condition):
    deadline = time.monotonic() + 20
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert condition()


def test_a_new_item_is_served_and_a_damaged_table_keeps_the_old_ones(small_run, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("serving.service.service.TABLES_SECONDS", 0.05)
    path = tmp_path / "items.parquet"
    small_run.items.write_parquet(path)
    new = small_run.items.head(1).with_columns(item_id=pl.lit("new"))
    query = Query(history=[small_run.items["item_id"][1]], only=["new"])
    settings = Settings(str(small_run.run / "bundle"), events=str(small_run.folder / "events.parquet"), items=str(path))
    with Service(settings) as service:
        assert len(service.recommend(query).item_ids) == 0
        pl.concat([small_run.items, new]).write_parquet(path)
        wait_for(lambda: len(service.recommend(query).item_ids) == 1)
        assert service.items_fault is None
        assert service.recommend(Query(user_id=small_run.events["user_id"][0])).reason is None
        path.write_bytes(path.read_bytes()[:100])
        wait_for(lambda: service.items_fault is not None)
        assert "not read again" in caplog.text
        assert len(service.recommend(query).item_ids) == 1
        pl.concat([small_run.items, new]).write_parquet(path)
        wait_for(lambda: service.items_fault is None)


def test_a_damaged_table_at_the_start_leaves_the_bundle_s_items(small_run, tmp_path):
    (tmp_path / "items.parquet").write_bytes(b"PAR1")
    with Service(Settings(str(small_run.run / "bundle"), items=str(tmp_path / "items.parquet"))) as service:
        assert service.items_fault is not None
        assert len(service.recommend(Query(history=["i00001"])).item_ids) == 10


def test_a_table_s_earlier_rows_are_forgotten_and_many_new_items_are_folded_in(small_run, tmp_path, monkeypatch):
    monkeypatch.setattr("serving.service.service.TABLES_SECONDS", 0.05)
    folder = tmp_path / "items"
    folder.mkdir()
    names = [f"new{number}" for number in range(10)]
    small_run.items.head(10).with_columns(item_id=pl.Series(names)).write_parquet(folder / "new.parquet")
    query = Query(history=[small_run.items["item_id"][1]], only=names)
    with Service(Settings(str(small_run.run / "bundle"), items=str(folder))) as service:
        assert len(service.recommend(query).item_ids) == 10
        wait_for(lambda: not isinstance(service.served.retriever.bundle.index, FreshIndex))
        before = service.recommend(query)
        small_run.items.head(2).with_columns(item_id=pl.Series(names[:2])).write_parquet(folder / "new.parquet")
        wait_for(lambda: len(service.recommend(query).item_ids) == 2)
        kept = dict(zip(before.item_ids, before.scores, strict=True))
        after = service.recommend(query)
        assert [kept[item] for item in after.item_ids] == after.scores.to_list()
