"""Versions and aliases in MLflow: registered once, found again, and one clear line where they are not."""

import json
import shutil
import socket
import tempfile
import time
from pathlib import Path

import pandas as pd
import pytest

from recsys.bundle import verify
from recsys.errors import InputError
from recsys.registry import store as store_module
from recsys.registry.runs import BUNDLE_TAG, RunRecord
from recsys.registry.store import CHALLENGER, CHAMPION, Registry, check_name, resolve
from recsys.retriever import Retriever

CURVES = [{"loss": 2.0}, {"loss": 1.0}]


@pytest.fixture
def record(tmp_path):
    (tmp_path / "note.json").write_text("{}")
    return RunRecord(
        {"a.b": 1}, {"recall": 0.5}, CURVES, [(tmp_path / "note.json", "records")], {"tag": "x"}, "fine", ("log", "d")
    )


@pytest.fixture
def publish(small_run, registry_uri, record):
    """A function: register the small bundle under a name and a bundle id."""

    def make(name="small", bundle_id=small_run.bundle_id):
        return Registry(registry_uri).publish(name, small_run.run / "bundle", bundle_id, record)

    return make


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
        assert verify(resolve(source, registry_uri)) == small_run.bundle_id
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


@pytest.mark.parametrize(
    "step", ["log_bundle", "log_run", "create_registered_model", "create_model_version", "set_terminated"]
)
def test_killed_between_steps_there_is_one_version_in_the_end(
    small_run, registry_uri, publish, record, monkeypatch, step
):
    from mlflow import MlflowClient

    owner = store_module if step.startswith("log_") else MlflowClient
    with monkeypatch.context() as patch:
        patch.setattr(owner, step, _killed)
        with pytest.raises(KeyboardInterrupt):
            publish()
    version = publish()
    store = Registry(registry_uri)
    assert store.versions("small") == [version]
    experiment = store.client.get_experiment_by_name("small").experiment_id
    runs = store.client.search_runs([experiment])
    assert [(run.info.run_id, run.info.status) for run in runs] == [(version.run_id, "FINISHED")]


def _killed(*arguments, **settings):
    raise KeyboardInterrupt


@pytest.mark.parametrize("moment", ["log_batch", "log_artifacts", "create_registered_model"])
def test_two_processes_that_publish_the_same_bundle_at_once_register_it_once(
    registry_uri, publish, monkeypatch, moment
):
    """The slower one's run is deleted while it writes."""
    from mlflow import MlflowClient

    real = getattr(MlflowClient, moment)

    def meanwhile(*arguments, **settings):
        monkeypatch.setattr(MlflowClient, moment, real)
        publish()
        return real(*arguments, **settings)

    monkeypatch.setattr(MlflowClient, moment, meanwhile)
    version = publish()
    store = Registry(registry_uri)
    assert store.versions("small") == [version]
    runs = store.client.search_runs([store.client.get_experiment_by_name("small").experiment_id])
    assert [(run.info.run_id, run.info.status) for run in runs] == [(version.run_id, "FINISHED")]


def test_a_version_that_mlflow_creates_twice_is_kept_once(registry_uri, publish, monkeypatch):
    """Its HTTP client repeats a call whose answer was lost."""
    from mlflow import MlflowClient

    real = MlflowClient.create_model_version

    def twice(*arguments, **settings):
        real(*arguments, **settings)
        return real(*arguments, **settings)

    monkeypatch.setattr(MlflowClient, "create_model_version", twice)
    assert publish().number == 1
    assert len(Registry(registry_uri).versions("small")) == 1


def test_a_dataset_that_two_processes_log_at_once_is_logged_once(registry_uri, publish, monkeypatch):
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    real = MlflowClient.log_inputs

    def collide(*arguments):
        monkeypatch.setattr(MlflowClient, "log_inputs", real)
        raise MlflowException("UNIQUE constraint failed: datasets.experiment_id, datasets.name, datasets.digest")

    monkeypatch.setattr(MlflowClient, "log_inputs", collide)
    store = Registry(registry_uri)
    assert len(store.client.get_run(publish().run_id).inputs.dataset_inputs) == 1


def test_a_database_is_whole_or_not_there(tmp_path, empty_registry, monkeypatch):
    from mlflow import MlflowClient

    path, real = tmp_path / "new.db", MlflowClient.search_experiments
    store = Registry(f"sqlite:///{path}")

    def another_is_faster(client):
        real(client)
        shutil.copy(empty_registry, path)
        inodes.append(path.stat().st_ino)

    inodes = []
    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "search_experiments", _killed)
        with pytest.raises(KeyboardInterrupt):
            store.versions("small")
        assert not list(tmp_path.iterdir())
        patch.setattr(MlflowClient, "search_experiments", another_is_faster)
        assert store.versions("small") == []
    assert list(tmp_path.iterdir()) == [path]
    assert inodes == [path.stat().st_ino]


def test_models_of_different_names_do_not_mix(registry_uri, publish):
    names = ["small", "other one", "R&D (v2) 100%", "naïve.model-x_1"]
    assert [publish(name).number for name in names] == [1] * 4
    assert publish("small", "f" * 64).number == 2
    store = Registry(registry_uri)
    assert [len(store.versions(name)) for name in names] == [2, 1, 1, 1]
    store.move("other one", CHALLENGER, store.versions("other one")[0])
    assert store.version("small", CHALLENGER) is None
    assert verify(resolve("models:/other one@challenger", registry_uri))


@pytest.mark.parametrize("name", ["", " ", "a/b", "a:b", "it's", 'say "x"', "me@home", " lead", "trail ", "two\nlines"])
def test_a_name_that_no_uri_can_hold(publish, name):
    with pytest.raises(ValueError, match=r"registry\.name is .*; expected a name without"):
        check_name(name)
    with pytest.raises(ValueError, match=r"registry\.name is"):
        publish(name)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("models:/nothing@champion", "'nothing' has no champion in sqlite:.*; publish and promote a model first"),
        ("models:/it's@champion", "has no champion"),
        ("models:/small@champion", "'small' has no champion"),
        ("models:/small@bad alias!", "'small' has no bad alias!"),
        ("models:/small/9", "'small' has no version 9 in sqlite:"),
        ("models:/nothing/1", "'nothing' has no version 1 in sqlite:"),
        ("models:/small", "expected models:/NAME@champion or models:/NAME/3, or a bundle folder"),
        ("models:small@champion", "expected models:/NAME@champion"),
    ],
)
def test_what_is_not_registered_is_one_clear_line(registry_uri, publish, source, message):
    publish()
    with pytest.raises(ValueError, match=message) as raised:
        resolve(source, registry_uri)
    assert "\n" not in str(raised.value)


def test_looking_creates_no_registry(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for source in ("models:/small@champion", "models:/small/1"):
        with pytest.raises(ValueError, match=f"in sqlite:///{tmp_path}/mlflow.db"):
            resolve(source)
    assert not list(tmp_path.iterdir())


def test_where_the_registry_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert Registry().uri == Registry("sqlite:///mlflow.db").uri == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://somewhere:5000")
    assert Registry().uri == "http://somewhere:5000"
    assert Registry("sqlite:////abs/x.db").uri == "sqlite:////abs/x.db"


def test_an_unreachable_or_broken_registry_is_one_line_within_seconds(tmp_path):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    (tmp_path / "text.db").write_text("no database" * 100)
    (tmp_path / "folder.db").mkdir()
    databases = [f"sqlite:///{tmp_path}/{name}" for name in ("text.db", "folder.db")]
    for uri in (f"http://127.0.0.1:{port}", *databases, "ftp://somewhere", "http://[x"):
        started = time.perf_counter()
        with pytest.raises(InputError, match=r"^registry .*; check --registry or MLFLOW_TRACKING_URI$") as raised:
            resolve("models:/small@champion", uri)
        assert time.perf_counter() - started < 20
        assert "\n" not in str(raised.value)


def test_a_registry_that_cannot_be_made_is_one_line_within_seconds(tmp_path):
    for uri in ("sqlite:////proc/mlflow.db", f"sqlite:///{tmp_path}/no/folder/mlflow.db"):
        started = time.perf_counter()
        with pytest.raises(ValueError, match=r"^registry .*; check --registry or MLFLOW_TRACKING_URI$"):
            Registry(uri).versions("small")
        assert time.perf_counter() - started < 5


def test_local_artifacts_are_read_where_they_lie(registry_uri, publish, tmp_path, monkeypatch):
    version = publish()
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    for _ in range(2):
        assert Registry(registry_uri).bundle_path(version).is_relative_to(tmp_path)
        assert Registry(registry_uri).records(version).is_dir()
    assert not list((tmp_path / "temporary").iterdir())


@pytest.fixture
def loaded(registry_uri, publish):
    import mlflow

    publish()
    mlflow.set_tracking_uri(registry_uri)
    return mlflow.pyfunc.load_model("models:/small/1")


def test_mlflow_loads_a_version_and_gets_the_retrievers_answers(small_run, loaded):
    retriever = Retriever.load(small_run.run / "bundle")
    histories = [["i00001", "i00002"], ["i00003"], ["unknown"]]
    answers = loaded.predict(pd.DataFrame({"history": histories, "k": [3, 500, 3]}))
    assert list(answers.columns) == ["item_ids", "scores", "reason", "bundle_id"]
    for row, k in enumerate([3, 500, 3]):
        alone = retriever.recommend([histories[row]], k=k)
        assert answers["item_ids"][row] == alone.item_ids[0].to_list()
        assert answers["scores"][row] == pytest.approx(alone.scores[0].to_list(), abs=1e-5)
        assert answers["reason"][row] == alone.reasons[0]
    assert set(answers["bundle_id"]) == {small_run.bundle_id}
    assert answers["reason"][0] is None
    without_k = loaded.predict(pd.DataFrame({"history": histories}))
    assert [len(ids) for ids in without_k["item_ids"]] == [10, 10, 10]


def test_records_may_name_the_user(small_run, loaded):
    retriever = Retriever.load(small_run.run / "bundle")
    known = small_run.dataset.users().get_column("user_id").head(2).to_list()
    history = [["i00001", "i00002"]] * 3
    answers = loaded.predict(pd.DataFrame({"history": history, "user_id": [*known, "new"]}))
    alone = [retriever.recommend(history[:1], user_ids=[user_id], k=10) for user_id in (*known, "new")]
    for row, expected in enumerate(alone):
        assert answers["scores"][row] == pytest.approx(expected.scores[0].to_list(), abs=1e-5)
    assert len({tuple(scores) for scores in answers["scores"]}) == 3  # they are of different ages
    partly = loaded._model_impl.predict(pd.DataFrame({"history": history, "user_id": [known[0], None, float("nan")]}))
    nobody = retriever.recommend(history[:1], k=10).scores[0].to_list()
    assert [partly["scores"][row] == pytest.approx(nobody, abs=1e-5) for row in range(3)] == [False, True, True]


def test_records_without_a_history_are_refused(loaded):
    model = loaded._model_impl
    with pytest.raises(ValueError, match="records have k; expected history and, optionally, k and user_id"):
        model.predict(pd.DataFrame({"k": [1]}))
    assert len(model.predict(pd.DataFrame({"history": [], "k": []}))) == 0


def test_no_code_is_pickled(registry_uri, publish):
    model = Registry(registry_uri).bundle_path(publish()).parents[1]
    assert not [path for path in model.rglob("*") if path.suffix in (".pkl", ".pickle", ".cloudpickle")]
    assert json.loads((model / "input_example.json").read_text())["columns"] == ["history", "k"]
