"""MLflow asks with a frame of records or over HTTP, and gets what the retriever answers, record by record."""

import asyncio
import json
import math
import os
import shutil
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException

from recsys import pyfunc
from recsys.bundle import load_bundle
from recsys.errors import BundleError, InputError
from recsys.registry.runs import log_bundle
from recsys.search import choose_device

HISTORY = ["i00001", "i00002"]


@pytest.fixture(scope="module")
def logged(small_run, tmp_path_factory):
    """The model as it is logged for a version: its folder."""
    folder = tmp_path_factory.mktemp("logged")
    client = SimpleNamespace(
        log_artifacts=lambda run_id, path, name: shutil.copytree(path, folder / name),
        get_run=lambda run_id: SimpleNamespace(info=SimpleNamespace(artifact_uri=str(folder))),
    )
    log_bundle(client, "run", small_run.run / "bundle", small_run.bundle_id)
    return folder / "model"


@pytest.fixture(scope="module")
def loaded(logged):
    import mlflow

    return mlflow.pyfunc.load_model(str(logged))


@pytest.fixture(scope="module")
def ask(loaded):
    """A function: the status and the JSON of one call of MLflow's scoring server."""
    from mlflow.pyfunc import scoring_server

    before = dict(os.environ)
    server = scoring_server.init(loaded)
    os.environ.clear()
    os.environ.update(before)  # the server says in the environment that it is one
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
        "path": "/invocations", "raw_path": b"/invocations", "root_path": "", "query_string": b"",
        "headers": [(b"content-type", b"application/json")],
    }  # fmt: skip

    def call(records, **params):
        body, sent = {"dataframe_records": records} | ({"params": params} if params else {}), []

        async def receive():
            return {"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}

        async def send(message):
            sent.append(message)

        asyncio.run(server(dict(scope), receive, send))
        return sent[0]["status"], json.loads(b"".join(message.get("body", b"") for message in sent))

    return call


@pytest.fixture(scope="module")
def served(small_run):
    return pyfunc._load_pyfunc(str(small_run.run / "bundle"))


def test_mlflow_loads_a_model_and_gets_the_retrievers_answers(loaded, retriever):
    histories = [HISTORY, ["i00003"], ["unknown"]]
    answers = loaded.predict(pd.DataFrame({"history": histories, "k": [3, 500, 3]}))
    assert list(answers.columns) == ["item_ids", "scores", "reason", "bundle_id"]
    for row, k in enumerate([3, 500, 3]):
        expected = retriever.recommend([histories[row]], k=k)
        assert answers["item_ids"][row] == expected.item_ids[0].to_list()
        assert answers["scores"][row] == pytest.approx(expected.scores[0].to_list(), abs=1e-5)
        assert answers["reason"][row] == expected.reasons[0]
    assert set(answers["bundle_id"]) == {retriever.bundle_id}


def test_what_is_optional_may_be_missing_in_some_records(loaded, ask, retriever, small_run):
    user_id = small_run.users["user_id"][0]
    records = [
        {"history": HISTORY, "k": 3, "user_id": user_id},
        {"history": HISTORY, "user_id": user_id},
        {"history": HISTORY, "k": 4},
        {"history": HISTORY},
        {"history": HISTORY, "k": None, "user_id": None},
        {"history": None, "user_id": user_id},
        {"history": []},
        {"user_id": "new"},
        {"history": ["i00001", None, "i00002"], "k": 5},
    ]
    status, answer = ask(records)
    assert status == 200
    frame = loaded.predict(pd.DataFrame(records))
    for row, record in enumerate(records):
        history = [item for item in record.get("history") or [] if item is not None]
        users = [record["user_id"]] if record.get("user_id") else None
        expected = retriever.recommend([history], user_ids=users, k=record.get("k") or pyfunc.DEFAULT_K)
        assert frame["item_ids"][row] == answer["predictions"][row]["item_ids"] == expected.item_ids[0].to_list()
        assert answer["predictions"][row]["scores"] == pytest.approx(expected.scores[0].to_list(), abs=1e-5)
        assert answer["predictions"][row]["reason"] == expected.reasons[0]


def test_the_parameters_of_a_request(loaded, ask, retriever):
    status, answer = ask([{"history": HISTORY}, {"history": HISTORY, "k": 2}], k=3)
    assert status == 200
    assert [len(each["item_ids"]) for each in answer["predictions"]] == [3, 2]
    frame = loaded.predict(pd.DataFrame({"history": [HISTORY]}), params={"k": 4, "exclude_seen": False})
    assert frame["item_ids"][0] == retriever.recommend([HISTORY], k=4, exclude_seen=False).item_ids[0].to_list()
    everything = loaded.predict(pd.DataFrame({"history": [HISTORY]}), params={"k": 10**6, "exclude_seen": False})
    assert set(HISTORY) < set(everything["item_ids"][0])
    without = loaded.predict(pd.DataFrame({"history": [HISTORY]}), params={"k": 10**6})
    assert not set(HISTORY) & set(without["item_ids"][0])


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"history": HISTORY, "k": 0}, "k is 0; expected a whole number, at least 1"),
        ({"history": HISTORY, "k": -1}, "k is -1; expected a whole number"),
        ({"history": HISTORY, "k": "x"}, "k is 'x'; expected a whole number"),
        ({"history": HISTORY, "k": 2.5}, "k is 2.5; expected a whole number"),
        ({"history": HISTORY, "k": True}, "k is True; expected a whole number"),
        ({"history": HISTORY, "k": [3]}, r"k is \[3\]; expected a whole number"),
        ({"history": HISTORY, "k": 1e300}, "k has 1e.300, an integer that became a float"),
        ({"history": "i00001"}, "history of record 0 is 'i00001'; expected a list of item ids"),
        ({"history": {"a": 1}}, "history of record 0 is .*; expected a list of item ids"),
        ({"history": [1, 2]}, "item"),
        ({"history": ["i00001", 2]}, "item"),
        ({"history": [["i00001"]]}, "item"),
        ({"history": ["\ud800"]}, "item"),
        ({"history": HISTORY, "user_id": 7}, "user"),
        ({"history": HISTORY, "user_id": ["u"]}, "user"),
    ],
)
def test_a_bad_record_is_a_bad_request_with_our_line(loaded, ask, record, message):
    status, answer = ask([record])
    assert (status, answer["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert "unexpected" not in answer["message"]
    with pytest.raises(MlflowException, match=message) as raised:
        loaded.predict(pd.DataFrame([record]))
    assert raised.value.error_code == "INVALID_PARAMETER_VALUE"
    assert "\n" not in raised.value.message


@pytest.mark.parametrize("params", [{"k": 0}, {"k": "x"}, {"k": 2.5}, {"k": math.nan}, {"exclude_seen": "no"}])
def test_a_bad_parameter_is_a_bad_request(loaded, params):
    with pytest.raises(MlflowException) as raised:
        loaded.predict(pd.DataFrame({"history": [HISTORY]}), params=params)
    assert raised.value.error_code == "INVALID_PARAMETER_VALUE"


def test_records_without_a_history_are_refused(served, loaded, ask):
    with pytest.raises(
        MlflowException, match="records have k; expected history or user and, optionally, k and user_id"
    ):
        served.predict(pd.DataFrame({"k": [3]}))
    with pytest.raises(MlflowException, match="the input is a list; expected records"):
        served.predict([HISTORY])
    assert ask([{"k": 3}])[0] == 400
    assert len(loaded.predict(pd.DataFrame({"history": [], "k": []}))) == 0


def test_k_is_ten_where_it_is_missing(served):
    answers = served.predict(pd.DataFrame({"history": [HISTORY, np.array(HISTORY)], "k": [math.nan, 2]}))
    assert answers["item_ids"].map(len).tolist() == [pyfunc.DEFAULT_K, 2]
    assert len(served.predict(pd.DataFrame({"history": [HISTORY]}))["item_ids"][0]) == pyfunc.DEFAULT_K


def test_integer_ids_survive_what_pandas_makes_of_them(integer_bundle):
    served = pyfunc._load_pyfunc(str(integer_bundle))
    records = pd.DataFrame([{"history": [1, 2], "user_id": 3}, {"history": [1.0, 2.0]}, {"history": [1, None, 2]}])
    assert records["user_id"].dtype == float
    items = served.predict(records)["item_ids"]
    assert items[0] == items[1] == items[2]
    with pytest.raises(MlflowException, match=r"user_id has 9007199254740992\.0, an integer that became a float"):
        served.predict(pd.DataFrame([{"history": [1], "user_id": 2**53 + 1}, {"history": [1]}]))
    with pytest.raises(MlflowException, match="item"):
        served.predict(pd.DataFrame([{"history": ["i00001"]}]))


def test_the_device_is_named_by_mlflows_model_config(logged, monkeypatch):
    import mlflow

    devices = []
    monkeypatch.setattr(pyfunc, "load_bundle", lambda *_, device, **__: devices.append(device) or load_bundle(*_, **__))
    mlflow.pyfunc.load_model(str(logged))
    mlflow.pyfunc.load_model(str(logged), model_config={"device": "auto"})
    monkeypatch.setenv("MLFLOW_PYFUNC_INFERENCE_CONFIG", '{"device": "auto"}')
    mlflow.pyfunc.load_model(str(logged))
    assert devices == ["cpu", "auto", "auto"]
    with pytest.raises(InputError, match="the device is 'gpu', expected cpu, cuda or auto"):
        choose_device("gpu")


def test_another_bundle_in_the_logged_model_is_noticed(logged, integer_bundle, tmp_path):
    import mlflow

    shutil.copytree(logged, tmp_path / "model")
    place = tmp_path / "model" / "data" / "bundle"
    shutil.rmtree(place)
    shutil.copytree(integer_bundle, place)
    with pytest.raises(BundleError, match="the one that was registered"):
        mlflow.pyfunc.load_model(str(tmp_path / "model"))


def test_a_model_that_an_earlier_release_logged(logged, retriever, tmp_path):
    """It has no bundle id and no parameters, and types that are stricter than the code."""
    import mlflow
    import yaml

    shutil.copytree(logged, tmp_path / "model")
    path = tmp_path / "model" / "MLmodel"
    description = yaml.safe_load(path.read_text())
    assert description.pop("metadata") == {"recsys.bundle_id": retriever.bundle_id}
    strict = [
        {"type": "array", "items": {"type": "string"}, "name": "history", "required": True},
        {"type": "long", "name": "k", "required": False},
    ]
    description["signature"] |= {"inputs": json.dumps(strict), "params": None}
    path.write_text(yaml.safe_dump(description))
    answers = mlflow.pyfunc.load_model(str(tmp_path / "model")).predict(pd.DataFrame({"history": [HISTORY], "k": [3]}))
    assert answers["item_ids"][0] == retriever.recommend([HISTORY], k=3).item_ids[0].to_list()
