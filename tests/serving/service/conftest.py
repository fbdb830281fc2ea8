"""A registry with two versions, of which the first is champion, and a service that follows it."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from recsys.bundle import load_bundle, save_bundle
from recsys.registry import CHAMPION, Registry
from recsys.registry.runs import RunRecord
from recsys.retriever import GoldenAnswers, Retriever
from serving.service import Service, Settings, follower

SOURCE = f"models:/small@{CHAMPION}"


@pytest.fixture
def registered(small_run, registry_uri, tmp_path):
    """store: the registry. versions: 1 and 2, whose bundles differ in what they say about their training."""
    bundle, _ = load_bundle(small_run.run / "bundle")
    other = tmp_path / "other"
    save_bundle(replace(bundle, provenance=bundle.provenance.model_copy(update={"epoch": 99})), other)
    store = Registry(registry_uri)
    versions = [
        publish(store, path, tmp_path / f"records {path.parent.name}") for path in (small_run.run / "bundle", other)
    ]
    store.move("small", CHAMPION, versions[0])
    return SimpleNamespace(store=store, versions=versions, uri=registry_uri)


def publish(store, path, folder):
    """Register a bundle with its recorded answers."""
    retriever = Retriever.load(path)
    folder.mkdir()
    GoldenAnswers.of(retriever, retriever.bundle.encoder.item_ids.head(6).reshape((3, 2)).arr.to_list()).write(folder)
    record = RunRecord({}, {"recall": 0.5}, [], [(folder / GoldenAnswers.FILE, "records")], {}, "", ("log", "d"))
    return store.publish("small", path, retriever.bundle_id, record)


@pytest.fixture
def settings(registered, small_run, tmp_path):
    return Settings(
        SOURCE, events=str(small_run.folder / "events.parquet"), cache=tmp_path / "cache", registry=registered.uri
    )


@pytest.fixture
def service(settings, monkeypatch):
    """It asks the registry only when a test lets it: by ``service.follower.poll()``."""
    monkeypatch.setattr(follower, "POLL_SECONDS", 3600)
    with Service(settings) as service:
        yield service
