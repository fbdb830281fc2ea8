"""A bundle is named by its folder, or by a model that is registered."""

import pytest

from recsys.bundle import verify
from recsys.registry.sources import resolve
from recsys.registry.store import CHALLENGER, Registry


def test_a_folder_may_hold_any_bundle(tmp_path):
    source = resolve(str(tmp_path))
    assert (source.path, source.bundle_id) == (tmp_path, None)


def test_a_model_names_the_bundle_that_must_be_there(small_run, registry_uri, publish):
    store, version = Registry(registry_uri), publish("other one")
    store.move("other one", CHALLENGER, version)
    for source in ("models:/other one@challenger", "models:/other one/1"):
        found = resolve(source, registry_uri)
        assert verify(found.path) == found.bundle_id == small_run.bundle_id


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
