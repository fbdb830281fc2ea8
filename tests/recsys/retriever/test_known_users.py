"""A log gives the histories of its users, whole and in order; nobody else is known by id."""

import polars as pl
import pytest

from recsys.bundle import load_bundle
from recsys.data import clean_events
from recsys.errors import InputError
from recsys.retriever import KnownUsers, Retriever, logged_histories


@pytest.fixture(scope="module")
def bundle(small_run):
    return load_bundle(small_run.run / "bundle")[0]


@pytest.fixture
def log(small_run):
    return str(small_run.folder / "events.parquet")


def test_histories_are_whole_and_in_order(small_run, bundle, log):
    logged = logged_histories(bundle, log)
    assert logged["user_id"].is_sorted()
    assert logged["history"].list.len().sum() == small_run.events.height
    user_id, history = logged.row(7)
    expected = small_run.events.filter(user_id=user_id).sort("timestamp", maintain_order=True)
    assert history == expected["item_id"].to_list()


def test_histories_of_users_are_positions_and_empty_for_strangers(bundle, log):
    users = KnownUsers.read(bundle, log)
    logged = logged_histories(bundle, log)
    histories = users.histories_of(pl.Series([logged["user_id"][3], "nobody", logged["user_id"][0]]))
    assert bundle.encoder.ids(histories[0]).to_list() == logged["history"][3].to_list()
    assert len(histories[1]) == 0
    assert bundle.encoder.ids(histories[2]).to_list() == logged["history"][0].to_list()


def test_without_a_log_nobody_is_known_by_id(small_run):
    with pytest.raises(ValueError, match=r"known by id only after Retriever.load\(bundle, events=LOG\)"):
        Retriever.load(small_run.run / "bundle").recommend(user_ids=["u00001"])


def test_a_log_that_changes_while_it_is_read_is_refused(small_run, bundle, tmp_path, monkeypatch):
    path = tmp_path / "events.parquet"
    small_run.events.write_parquet(path)

    def slow(events):
        cleaned = clean_events(events)
        small_run.events.head(100).write_parquet(path)
        return cleaned

    monkeypatch.setattr("recsys.retriever.known_users.clean_events", slow)
    with pytest.raises(InputError, match=r"events at .* changed while it was read"):
        Retriever.load(small_run.run / "bundle", events=path)
