"""One version is left, whatever was killed, repeated or done twice at the same time."""

import pytest

from recsys.errors import BundleError
from recsys.registry import publication
from recsys.registry.store import Registry


@pytest.mark.parametrize(
    "step", ["log_bundle", "log_run", "create_registered_model", "create_model_version", "finish_run"]
)
def test_killed_between_steps_there_is_one_version_in_the_end(
    small_run, registry_uri, publish, record, monkeypatch, step
):
    from mlflow import MlflowClient

    owner = publication if step in ("log_run", "log_bundle", "finish_run") else MlflowClient
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


def test_what_is_not_the_bundle_of_that_id_is_not_registered(small_run, registry_uri, record, other_bundle):
    store = Registry(registry_uri)
    with pytest.raises(BundleError, match=f"is {small_run.bundle_id[:12]}; expected {other_bundle.bundle_id[:12]}"):
        store.publish("small", small_run.run / "bundle", other_bundle.bundle_id, record)
    assert store.versions("small") == []
