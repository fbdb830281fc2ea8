"""The alias decides what serves; a version that is not fit to serve changes nothing."""

import pytest

from recsys import files
from recsys.errors import InputError, RegistryError
from recsys.registry import CHAMPION, Registry
from recsys.retriever import GoldenAnswers
from serving.service import Service, served


def promote(registered, number):
    registered.store.move("small", CHAMPION, registered.versions[number - 1])


def test_a_promoted_version_takes_over_and_a_rollback_is_instant(service, registered, monkeypatch):
    first = service.served
    promote(registered, 2)
    service.follower.poll()
    assert (first.version, service.served.version, service.swaps) == (1, 2, 1)
    assert service.served.bundle_id == registered.versions[1].bundle_id
    monkeypatch.setattr(served.Retriever, "load", None)  # nothing is loaded again
    promote(registered, 1)
    service.follower.poll()
    assert service.served.version == 1


def test_a_damaged_version_and_one_that_answers_differently_leave_the_old_one_serving(service, registered):
    bundle = registered.store.bundle_path(registered.versions[1])
    weights = bundle / "weights.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    promote(registered, 2)
    service.follower.poll()
    assert service.served.version == 1
    assert "weights.safetensors" in service.refused.reason
    weights.write_bytes(whole)
    golden = registered.store.records(registered.versions[1]) / GoldenAnswers.FILE
    answers = files.read_json(golden)
    files.write_json(golden, answers | {"item_ids": answers["item_ids"][::-1]})
    service.follower.refused = None
    service.follower.poll()
    assert service.served.version == 1
    assert "recorded answers" in service.refused.reason


def test_a_refused_version_is_not_tried_at_every_poll(service, registered, monkeypatch):
    weights = registered.store.bundle_path(registered.versions[1]) / "weights.safetensors"
    weights.write_bytes(b"")
    promote(registered, 2)
    service.follower.poll()
    refused = service.refused
    service.follower.poll()
    assert service.refused is refused
    monkeypatch.setattr("serving.service.follower.RETRY_SECONDS", 0)
    service.follower.poll()
    assert service.refused is not refused


def test_the_registry_may_be_down_in_flight_and_at_the_start(service, settings, registered, monkeypatch):
    def down(*_):
        raise RegistryError("the registry is down")

    monkeypatch.setattr(Registry, "version", down)
    service.follower.poll()
    assert service.follower.registry_fault == "the registry is down"
    assert service.served.version == 1
    with Service(settings) as second:
        assert second.served.version == 1
        assert second.follower.registry_fault == "the registry is down"
    (settings.cache / registered.versions[0].bundle_id / "bundle" / "manifest.json").unlink()
    with pytest.raises(InputError, match="down"):
        Service(settings)
