"""The files of a version are those that were registered, or the cause is named."""

import errno
import shutil

import pytest

from recsys.errors import BundleError, InputError, RegistryError
from recsys.registry.artifacts import local_path
from recsys.registry.store import CHAMPION, Registry
from recsys.registry.versions import BUNDLE_TAG
from recsys.retriever import Retriever


@pytest.fixture
def champion(registry_uri, publish):
    """A version that serves."""
    version = publish()
    Registry(registry_uri).move("small", CHAMPION, version)
    return version


@pytest.fixture
def load(registry_uri):
    return lambda source="models:/small@champion": Retriever.load(source, registry_uri=registry_uri)


def test_another_bundle_in_the_place_of_the_registered_one_is_refused(registry_uri, champion, load, other_bundle):
    place = Registry(registry_uri).bundle_path(champion)
    assert load().bundle_id == champion.bundle_id
    shutil.rmtree(place)
    shutil.copytree(other_bundle.path, place)
    wrong = f"is {other_bundle.bundle_id[:12]}; expected {champion.bundle_id[:12]}, the one that was registered"
    for source in ("models:/small@champion", "models:/small/1"):
        with pytest.raises(BundleError, match=wrong):
            load(source)
    with pytest.raises(BundleError, match=wrong):
        Registry(registry_uri).require_bundle(champion)
    shutil.rmtree(place)
    place.symlink_to(other_bundle.path)
    with pytest.raises(BundleError, match=wrong):
        load()


def test_none_or_two_bundles_in_the_place_of_one(registry_uri, champion, load, other_bundle):
    place = Registry(registry_uri).bundle_path(champion)
    shutil.copytree(other_bundle.path, place.with_name("another"))
    with pytest.raises(InputError, match="small version 1 has its bundle, holds another, bundle; expected one bundle"):
        load()
    shutil.rmtree(place.with_name("another"))
    shutil.rmtree(place)
    with pytest.raises(InputError, match="holds nothing; expected one bundle"):
        load()


def test_a_version_without_tag_is_refused(registry_uri, champion, load):
    Registry(registry_uri).client.delete_model_version_tag("small", "1", BUNDLE_TAG)
    with pytest.raises(InputError, match=r"small version 1 has no tag recsys\.bundle_id"):
        load()


def test_a_version_that_was_registered_by_hand(registry_uri, champion, load):
    client = Registry(registry_uri).client
    made = client.create_model_version("small", source="/somewhere", tags={BUNDLE_TAG: champion.bundle_id})
    with pytest.raises(InputError, match="small version 2 names no MLflow run, so it was registered by hand"):
        load(f"models:/small/{made.version}")
    gone = client.create_model_version("small", "/somewhere", "0" * 32, tags={BUNDLE_TAG: champion.bundle_id})
    with pytest.raises(InputError, match=f"the run {'0' * 32} of small version 3 was deleted for good; publish"):
        load(f"models:/small/{gone.version}")


def test_a_deleted_run_or_experiment_serves_as_long_as_its_files_are_there(registry_uri, champion, load, publish):
    store = Registry(registry_uri)
    experiment = store.client.get_experiment_by_name("small")
    store.client.delete_run(champion.run_id)
    store.client.delete_experiment(experiment.experiment_id)
    assert load().bundle_id == champion.bundle_id
    for action in (lambda: store.require_ready("small"), publish):
        with pytest.raises(
            RegistryError,
            match=f"the experiment 'small' was deleted; run `mlflow experiments restore --experiment-id "
            f"{experiment.experiment_id}`",
        ):
            action()


def test_a_project_that_was_moved(registry_uri, champion, tmp_path, publish, other_bundle):
    new = tmp_path / "new"
    new.mkdir()
    for name in ("mlflow.db", "mlartifacts"):
        shutil.move(tmp_path / name, new / name)
    moved = f"sqlite:///{new}/mlflow.db"
    message = rf"are not at {tmp_path}/mlartifacts/small\S*; if the project was moved, move it back or make a link"
    for action in (
        lambda: Retriever.load("models:/small@champion", registry_uri=moved),
        lambda: Registry(moved).require_ready("small"),
        lambda: Registry(moved).records(champion),
    ):
        with pytest.raises(InputError, match=message):
            action()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "note.json"]
    (tmp_path / "mlartifacts").symlink_to(new / "mlartifacts")
    assert Retriever.load("models:/small@champion", registry_uri=moved).bundle_id == champion.bundle_id


def test_a_place_that_cannot_be_written_is_named_before_the_work(registry_uri, tmp_path):
    (tmp_path / "mlartifacts").write_text("in the way")
    with pytest.raises(RegistryError, match="where the files of its models belong, cannot be written"):
        Registry(registry_uri).require_ready("small")


def test_which_uris_are_folders_here(tmp_path):
    assert local_path((tmp_path / "100% a?b").as_uri()) == tmp_path / "100% a?b"
    assert local_path(str(tmp_path)) == tmp_path
    assert local_path("s3://bucket/x") is None
    assert local_path("mlflow-artifacts:/1/2") is None


def test_a_disk_that_is_full_in_the_end_is_one_line(registry_uri, publish, monkeypatch):
    from mlflow import MlflowClient

    def full(*arguments, **settings):
        raise OSError(errno.ENOSPC, "No space left on device", "weights.safetensors")

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "log_artifacts", full)
        with pytest.raises(RegistryError, match=r"weights\.safetensors cannot be written \(No space left on device\)"):
            publish()
    assert publish().number == 1
