"""Versions and aliases in MLflow: registered once, found again, and one clear line where they are not."""

import json
import tempfile
from pathlib import Path

from recsys.bundle import verify
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
    (given,) = run.inputs.dataset_inputs
    assert (given.dataset.source, given.dataset.digest) == ("log", "d")
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
