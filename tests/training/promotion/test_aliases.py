import re
import shutil
from dataclasses import replace

import pytest

from recsys import files
from recsys.bundle import load_bundle, save_bundle
from recsys.errors import BundleError, InputError
from recsys.registry.runs import RunRecord
from recsys.registry.store import CHALLENGER, CHAMPION, PREVIOUS, Registry
from training.promotion.aliases import make_champion, rollback, version_history
from training.promotion.gate import promote


@pytest.fixture
def store(registry_uri):
    return Registry(registry_uri)


@pytest.fixture
def crowned(small_run, store, tmp_path):
    """A function: publish a version and make it champion."""
    bundle, _ = load_bundle(small_run.run / "bundle")

    def make():
        count, path = len(store.versions("small")), tmp_path / "bundle"
        provenance = bundle.provenance.model_copy(update={"epoch": 100 + count})  # makes another bundle id
        bundle_id = save_bundle(replace(bundle, provenance=provenance), path)
        record = RunRecord({}, {}, [], [], {"recsys.dataset": f"data{count}"}, "", ("log", "d"))
        version = store.publish("small", path, bundle_id, record)
        store.move("small", CHALLENGER, version)
        with store.locked("small") as held:
            make_champion(store, version, store.version("small", CHAMPION), f"reason {count}", held)
        return version

    return make


def aliases(store):
    found = {name: store.version("small", name) for name in (CHAMPION, CHALLENGER, PREVIOUS)}
    return {name: version.number for name, version in found.items() if version}


def test_promotions_and_rollbacks_are_in_the_version_history(store, registry_uri, crowned):
    with pytest.raises(ValueError, match="'small' has no history in sqlite:"):
        version_history("small", registry_uri=registry_uri)
    with pytest.raises(ValueError, match=r"'small' has no other champion to go back to in sqlite:"):
        rollback("small", registry_uri=registry_uri)
    for _ in range(3):
        crowned()
    assert aliases(store) == {CHAMPION: 3, PREVIOUS: 2}
    done = rollback("small", registry_uri=registry_uri)
    assert (done.restored.number, done.replaced.number) == (2, 3)
    assert aliases(store) == {CHAMPION: 2, PREVIOUS: 3}
    assert store.numbered("small", 3).tags["recsys.rolled_back"] == "to version 2"
    rollback("small", number=1, registry_uri=registry_uri)
    assert aliases(store) == {CHAMPION: 1, PREVIOUS: 2}
    with pytest.raises(ValueError, match="small version 1 is champion already"):
        rollback("small", number=1, registry_uri=registry_uri)
    told = version_history("small", registry_uri=registry_uri).lines()
    assert [re.sub(r"^\S+  ", "", line) for line in told[:-1]] == [
        "promoted version 1  data data0  reason 0",
        "promoted version 2  data data1  reason 1",
        "promoted version 3  data data2  reason 2",
        "rolled back to version 2  data data1  instead of version 3",
        "rolled back to version 1  data data0  instead of version 2",
    ]
    assert told[-1] == "now: version 1 serves"
    store.move("small", CHAMPION, store.numbered("small", 3))
    assert version_history("small", registry_uri=registry_uri).lines()[-1] == (
        "now: version 3 serves, moved by hand or by an interrupted step"
    )


@pytest.mark.parametrize("step", [0, 1, 2])
def test_killed_between_steps_a_rollback_leaves_a_champion(store, registry_uri, crowned, killed_from, step):
    for _ in range(2):
        crowned()
    with killed_from(step, "move", "log_change"):
        rollback("small", registry_uri=registry_uri)
    assert aliases(store)[CHAMPION] == (2 if step == 0 else 1)
    assert store.client.search_registered_models("name LIKE '%.lock'") == []


def test_a_lost_lock_stops_a_promotion(store, crowned):
    first, second = crowned(), crowned()
    with store.locked("small") as held:
        store.client.delete_registered_model("small.lock")
        with pytest.raises(ValueError, match="the lock was lost"):
            make_champion(store, first, second, "", held)
    assert aliases(store) == {CHAMPION: 2, PREVIOUS: 1}


def test_a_rollback_to_a_bundle_that_was_replaced_moves_nothing(store, registry_uri, crowned):
    first, second = crowned(), crowned()
    place = store.bundle_path(first)
    shutil.rmtree(place)
    shutil.copytree(store.bundle_path(second), place)
    with pytest.raises(BundleError, match=f"expected {first.bundle_id[:12]}, the one that was registered"):
        rollback("small", registry_uri=registry_uri)
    assert aliases(store) == {CHAMPION: 2, PREVIOUS: 1}


def test_a_lock_is_no_model(registry_uri):
    for command in (rollback, version_history, promote):
        with pytest.raises(InputError, match=r"'small\.lock' .* is that of a lock"):
            command("small.lock", registry_uri=registry_uri)


def test_the_records_of_another_bundle_judge_nothing(store, registry_uri, registrar):
    version = registrar(registry_uri)()
    path = store.records(version) / "evaluation.json"
    files.write_json(path, files.read_json(path) | {"bundle_id": "0" * 64})
    with pytest.raises(InputError, match="small version 1 has the records of bundle 000000000000; expected those of"):
        promote("small", registry_uri=registry_uri)
    assert aliases(store) == {CHALLENGER: 1}
