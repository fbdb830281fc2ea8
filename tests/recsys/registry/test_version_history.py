"""Changes of champion, as MLflow keeps them in tags."""

import pytest

from recsys.registry.store import EVENT_TAG, Registry
from recsys.registry.version_history import VersionChange

EARLIER = (
    '{"at": "2026-11-29T19:15:45+00:00", "action": "promoted", "version": 1, "instead_of": null, "why": "gate 6627: '
    'beats popularity", "bundle_id": "9a5a", "dataset": "12f5"}'
)


@pytest.fixture
def store(registry_uri):
    return Registry(registry_uri)


def test_changes_come_back_in_order(store):
    store.client.create_registered_model("m")
    changes = [
        VersionChange(at=f"2026-01-0{day}", action="promoted", version=day, instead_of=day - 1 or None, why="ahead",
                      bundle_id="b", dataset="d")
        for day in (1, 2, 3)
    ]  # fmt: skip
    for change in changes:
        store.log_change("m", change)
    assert store.changes("m") == changes
    assert store.changes("unknown") == []


def test_a_change_that_an_earlier_release_recorded(store):
    store.client.create_registered_model("m")
    store.client.set_registered_model_tag("m", f"{EVENT_TAG}01795979745149964815", EARLIER)
    (change,) = store.changes("m")
    assert (change.version, change.instead_of, change.action) == (1, None, "promoted")
    assert change.at == "2026-11-29T19:15:45+00:00"
