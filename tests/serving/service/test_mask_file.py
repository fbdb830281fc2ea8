"""A mask survives restarts and swaps, and reaches everybody who follows its file."""

import threading
import time
from dataclasses import replace

import pytest

from recsys.answers import Mask
from recsys.errors import InputError
from recsys.registry import CHAMPION
from recsys.retriever import Query
from serving.service import Service
from serving.service.mask_file import MaskFile

QUERY = Query(history=["i00001"], k=3)


def best(service):
    return service.recommend(QUERY).item_ids[0]


def test_versions_count_up_among_threads(tmp_path):
    path = tmp_path / "masks" / "mask.json"
    file = MaskFile(path)
    assert (file.read(), file.has_changed()) == (Mask(), False)
    threads = [threading.Thread(target=MaskFile(path).replace, args=([f"i{number}"],)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert file.has_changed()
    assert file.read().version == 8
    assert not file.has_changed()


def test_a_damaged_mask_is_refused(tmp_path):
    (tmp_path / "mask.json").write_text("{")
    with pytest.raises(InputError, match="damaged"):
        MaskFile(tmp_path / "mask.json").read()
    with pytest.raises(InputError, match="damaged"):
        MaskFile(tmp_path / "mask.json").replace([])


def test_a_mask_survives_a_swap_and_a_restart_and_reaches_other_services(service, settings, registered):
    with Service(settings) as other:
        gone = best(service)
        began = time.monotonic()
        assert service.put_mask([gone]).version == 1
        while best(other) == gone:
            assert time.monotonic() - began < 1
            time.sleep(0.02)
        assert other.recommend(QUERY).mask_version == 1
    registered.store.move("small", CHAMPION, registered.versions[1])
    service.follower.poll()
    assert service.served.version == 2
    assert best(service) != gone
    with Service(settings) as again:
        assert (best(again) != gone, again.recommend(QUERY).mask_version) == (True, 1)


def test_a_mask_that_is_damaged_later_leaves_the_one_before(service, tmp_path, settings, caplog):
    path = tmp_path / "own.json"
    with Service(replace(settings, mask=path)) as other:
        gone = best(other)
        other.put_mask([gone])
        path.write_text("{")
        for _ in range(200):
            if "not taken" in caplog.text:
                break
            time.sleep(0.02)
        assert "not taken" in caplog.text
        assert best(other) != gone
        assert best(service) == gone  # which follows another file
