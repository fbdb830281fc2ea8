"""Versions and aliases in MLflow: registered once, found again, and one clear line where they are not."""

import json
import logging
import os
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path

import pytest

from recsys.bundle import verify
from recsys.errors import InputError
from recsys.registry.sources import resolve
from recsys.registry.store import CHALLENGER, CHAMPION, Registry
from recsys.registry.versions import BUNDLE_TAG
from recsys.retriever import Retriever


def test_published_once_and_found_by_version_and_alias(small_run, registry_uri, publish):
    first = publish()
    assert publish() == first
    store = Registry(registry_uri)
    assert (first.name, first.number, first.bundle_id) == ("small", 1, small_run.bundle_id)
    assert first.tags == {BUNDLE_TAG: small_run.bundle_id, "tag": "x"}
    assert store.versions("small") == [first]
    assert store.version("small", CHAMPION) is None
    store.move("small", CHAMPION, first)
    assert store.version("small", CHAMPION) == store.numbered("small", 1) == first
    for source in ("models:/small@champion", "models:/small/1"):
        assert verify(resolve(source, registry_uri).path) == small_run.bundle_id
    assert Retriever.load("models:/small@champion", registry_uri=registry_uri).bundle_id == small_run.bundle_id
    store.move("small", CHAMPION, None)
    assert store.version("small", CHAMPION) is None
    assert (store.records(first) / "note.json").read_text() == "{}"
    run = store.client.get_run(first.run_id)
    assert run.info.status == "FINISHED"
    (dataset_input,) = run.inputs.dataset_inputs
    assert (dataset_input.dataset.source, dataset_input.dataset.digest) == ("log", "d")
    assert run.data.params == {"a.b": "1"}
    assert run.data.metrics == {"recall": 0.5, "epoch/loss": 1.0}
    assert [each.step for each in store.client.get_metric_history(first.run_id, "epoch/loss")] == [1, 2]
    assert run.data.tags["mlflow.note.content"] == "fine"
    artifacts = Path(registry_uri.removeprefix("sqlite:///")).parent / "mlartifacts"
    assert run.info.artifact_uri.startswith(artifacts.as_uri())


def test_models_of_different_names_do_not_mix(registry_uri, publish, other_bundle):
    names = ["small", "other one", "naïve.model-x_1"]
    assert [publish(name).number for name in names] == [1] * 3
    assert publish("small", other_bundle).number == 2
    store = Registry(registry_uri)
    assert [len(store.versions(name)) for name in names] == [2, 1, 1]
    store.move("other one", CHALLENGER, store.versions("other one")[0])
    assert store.version("small", CHALLENGER) is None


def test_local_artifacts_are_read_where_they_lie(registry_uri, publish, tmp_path, monkeypatch):
    version = publish()
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    for _ in range(2):
        assert Registry(registry_uri).bundle_path(version).is_relative_to(tmp_path)
        assert Registry(registry_uri).records(version).is_dir()
    assert not list((tmp_path / "temporary").iterdir())


def test_no_code_is_pickled(registry_uri, publish):
    model = Registry(registry_uri).bundle_path(publish()).parents[1]
    assert not [path for path in model.rglob("*") if path.suffix in (".pkl", ".pickle", ".cloudpickle")]
    assert json.loads((model / "input_example.json").read_text())["columns"] == ["history", "k"]


@pytest.fixture
def two_registries(small_run, other_bundle, empty_registry, record, tmp_path):
    """The addresses of two registries, each with a champion of its own, by the champion's bundle id."""
    bundles = {"a": (small_run.run / "bundle", small_run.bundle_id), "b": (other_bundle.path, other_bundle.bundle_id)}
    uris = {}
    for name, (path, bundle_id) in bundles.items():
        (tmp_path / name).mkdir()
        shutil.copy(empty_registry, tmp_path / name / "mlflow.db")
        uri = f"sqlite:///{tmp_path / name / 'mlflow.db'}"
        store = Registry(uri)
        store.move("small", CHAMPION, store.publish("small", path, bundle_id, record))
        uris[bundle_id] = uri
    return uris


def test_using_a_registry_leaves_the_process_as_it_was(two_registries, small_run, record, tmp_path, monkeypatch):
    import mlflow

    def state():
        loggers = [logging.getLogger(name) for name in (None, "mlflow", "alembic", "sqlalchemy", "sqlalchemy.engine")]
        child = subprocess.run(["env", "-0"], capture_output=True, check=True).stdout
        levels = [(logger.level, [*logger.handlers], logger.propagate) for logger in loggers]
        return dict(os.environ), child, mlflow.get_tracking_uri(), mlflow.get_registry_uri(), levels

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/of-the-user.db")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "6")
    before = state()
    for _ in range(2):
        for bundle_id, uri in two_registries.items():
            assert Retriever.load("models:/small@champion", registry_uri=uri).bundle_id == bundle_id
    Registry(f"sqlite:///{tmp_path}/made.db").publish("small", small_run.run / "bundle", small_run.bundle_id, record)
    with pytest.raises(InputError, match=r"'small' has no champion in sqlite:.*of-the-user\.db"):
        Retriever.load("models:/small@champion")
    assert state() == before
    assert not (tmp_path / "of-the-user.db").exists()
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=f"'small' has no champion in sqlite:///{tmp_path}/mlflow.db"):
        Retriever.load("models:/small@champion")


def test_two_threads_use_two_registries(two_registries):
    import mlflow

    before, wrong, barrier = (dict(os.environ), mlflow.get_tracking_uri()), [], threading.Barrier(2)

    def load(bundle_id, uri):
        barrier.wait()
        for _ in range(3):
            loaded = Retriever.load("models:/small@champion", registry_uri=uri).bundle_id
            wrong.extend([] if loaded == bundle_id else [(loaded, bundle_id)])

    threads = [threading.Thread(target=load, args=registry) for registry in two_registries.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert (dict(os.environ), mlflow.get_tracking_uri()) == before
