"""The whole cycle over HTTP, on a real tracking server that has an artifact store of its own."""

import re
import socket
import time
from urllib.request import urlopen

import pytest

from recsys.bundle import verify
from recsys.registry import lock
from recsys.registry.runs import RunRecord
from recsys.registry.sources import resolve
from recsys.registry.store import CHALLENGER, CHAMPION, PREVIOUS, Registry
from recsys.retriever import Retriever
from tests.tracking_server import tracking_server
from training.promotion.aliases import rollback, version_history
from training.promotion.gate import promote


@pytest.fixture(scope="module")
def uri(empty_registry, tmp_path_factory):
    with tracking_server(tmp_path_factory.mktemp("server"), empty_registry) as uri:
        yield uri


def test_publish_promote_serve_and_go_back(uri, registrar, monkeypatch, tmp_path):
    register, store = registrar(uri), Registry(uri)

    def judge(*overrides):
        decision = promote("small", registry_uri=uri, overrides=("gate.latency_ms=10000", *overrides))
        verdicts.append(decision.verdict)
        return decision.promoted

    def aliases():
        found = {alias: store.version("small", alias) for alias in (CHAMPION, CHALLENGER, PREVIOUS)}
        return {alias: version.number for alias, version in found.items() if version}

    def half_reversed(vectors):
        vectors[::2] = vectors[::2][::-1]
        return vectors

    verdicts = []
    first = register(half_reversed)
    assert not judge("gate.min_queries=1000")
    assert verdicts[-1] == "refused: queries"
    assert aliases() == {CHALLENGER: 1}
    assert judge()
    second = register()
    assert store.publish("small", tmp_path / "bundle-1", second.bundle_id, None) == second  # it is there already
    assert not judge("gate.required_gain=10")
    assert verdicts[-1] == "refused: ahead of the champion"
    assert judge()
    assert aliases() == {CHAMPION: 2, PREVIOUS: 1}
    served = Retriever.load("models:/small@champion", registry_uri=uri)
    assert served.bundle_id == second.bundle_id
    assert served.recommend([["i00001", "i00002"]], k=3).item_ids[0].len() == 3
    assert verify(resolve("models:/small/1", uri).path) == first.bundle_id
    rollback("small", registry_uri=uri)
    assert aliases() == {CHAMPION: 1, PREVIOUS: 2}
    told = [re.sub(r"^\S+  ", "", line).split("  ")[0] for line in version_history("small", registry_uri=uri).lines()]
    assert told == ["promoted version 1", "promoted version 2", "rolled back to version 1", "now: version 1 serves"]
    with store.locked("small") as held:
        held()
        monkeypatch.setattr(lock, "PATIENCE_SECONDS", 0.5)
        with pytest.raises(ValueError, match="small is locked by"):
            rollback("small", registry_uri=uri)
    assert [model.name for model in store.client.search_registered_models()] == ["small"]
    experiment = store.client.get_experiment_by_name("small")
    assert experiment.artifact_location.startswith("mlflow-artifacts:/")
    shown = urlopen(f"{uri}/model-versions/get-artifact?name=small&version=2&path=MLmodel").read().decode()
    assert "signature:" in shown  # what MLflow's page of a version shows as its schema
    runs = store.client.search_runs([experiment.experiment_id])
    assert {(run.info.run_id, run.info.status) for run in runs} == {
        (version.run_id, "FINISHED") for version in (first, second)
    }  # fmt: skip


def test_a_server_that_is_down_is_one_line_within_seconds(small_run, tmp_path):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        down = f"http://127.0.0.1:{closed.getsockname()[1]}"
    record = RunRecord({}, {}, [], [], {}, "", ("log", "d"))
    for action in (
        lambda: Registry(down).publish("small", small_run.run / "bundle", "id", record),
        lambda: promote("small", registry_uri=down),
    ):
        started = time.perf_counter()
        with pytest.raises(
            ValueError,
            match=f"^registry {down}: the connection was refused, .*check --registry or MLFLOW_TRACKING_URI$",
        ) as raised:
            action()
        assert time.perf_counter() - started < 20
        assert "\n" not in str(raised.value)
