"""The service as a replica on a cluster: the answers of a local one, until a signal ends it."""

import json
import os
import signal
import threading
import time
import urllib.request
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from recsys.errors import InputError
from serving.http import Access, Address
from serving.serve_on_ray import Replicas, _fixed, serve_on_ray
from serving.service import Settings


@pytest.fixture
def signals():
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def answered(port, path, body=None):
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)


def test_a_replica_answers_as_a_local_service_until_a_signal(ray_address, retriever, small_run, tmp_path, signals):
    address = Address(port=0)
    with address.bind() as free:
        address = replace(address, port=free.getsockname()[1])
    answers = []

    def ask():
        try:
            for _ in range(600):
                time.sleep(0.2)
                try:
                    answers.append(answered(address.port, "/health/ready"))
                    break
                except OSError:
                    continue
            body = json.dumps({"history": history, "k": 5}).encode()
            answers.append(answered(address.port, "/v1/recommend", body))
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    history = small_run.dataset.queries("test")["history"][0].to_list()
    asking = threading.Thread(target=ask)
    asking.start()
    serve_on_ray(Settings(str(small_run.run / "bundle"), cache=tmp_path), address, Access(), Replicas(), None)
    asking.join()
    assert answers[0]["bundle_id"] == small_run.bundle_id
    expected = retriever.recommend([history], k=5)
    assert [item["item_id"] for item in answers[1]["items"]] == expected.item_ids[0].to_list()
    assert [item["score"] for item in answers[1]["items"]] == pytest.approx(list(expected.scores[0]), abs=1e-5)
    with pytest.raises(OSError, match=r"refused|reset"):
        answered(address.port, "/health/live")


def test_a_signal_ends_a_service_whose_replicas_find_no_room(monkeypatch, tmp_path, signals):
    calls = []

    def deploy(*_):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)  # for ever, in a cluster without a free processor
        calls.append("deployed")

    for name, patched in {
        "Service": lambda _: SimpleNamespace(close=lambda: None), "connected": lambda _: nullcontext(),
        "_deploy": deploy,
        "serve": SimpleNamespace(
            status=lambda: SimpleNamespace(applications={}), delete=calls.append, shutdown=lambda: calls.append("ended")
        ),
    }.items():  # fmt: skip
        monkeypatch.setattr(f"serving.serve_on_ray.{name}", patched)
    serve_on_ray(Settings(str(tmp_path), cache=tmp_path), Address(port=0), Access(), Replicas(), None)
    assert calls == ["recsys", "ended"]


def test_nothing_to_serve_is_told_before_a_cluster_is_asked(tmp_path):
    with pytest.raises(InputError, match="nothing"):
        serve_on_ray(
            Settings(str(tmp_path / "nothing"), cache=tmp_path), Address(port=0), Access(), Replicas(), "none:1"
        )


def test_replicas_are_as_many_as_asked_for_or_follow_the_load():
    assert Replicas(3).autoscaling is None
    scaled = Replicas(1, 4).autoscaling
    assert scaled is not None
    assert (scaled.min_replicas, scaled.max_replicas) == (1, 4)
    for least, most, what in (
        (0, None, "--workers is 0"),
        (3, 2, "--max-workers is 2; expected at least --workers, 3"),
    ):
        with pytest.raises(InputError, match=what):
            Replicas(least, most)


def test_paths_are_the_same_in_every_process(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = Settings("run/bundle", events="events.parquet", cache=Path("cache"), log=Path("log"))
    fixed = _fixed(settings)
    assert (fixed.source, fixed.events) == (f"{tmp_path}/run/bundle", f"{tmp_path}/events.parquet")
    assert (fixed.cache, fixed.log, fixed.mask) == (tmp_path / "cache", tmp_path / "log", None)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    named = _fixed(Settings("models:/small@champion"))
    assert (named.source, named.registry) == ("models:/small@champion", f"sqlite:///{tmp_path}/mlflow.db")
