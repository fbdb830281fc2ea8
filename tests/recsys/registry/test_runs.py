"""What MLflow stores with a run: the model as data, and the code that serves it."""

import subprocess
import sys
import sysconfig

import pytest

from recsys.registry import runs
from recsys.registry.runs import PACKAGE, RunRecord, accepted
from recsys.registry.store import Registry

LOAD_WITHOUT_RECSYS = """
import importlib.util, sys
sys.path.append(sys.argv[1])  # without its .pth files, of which one is the editable install
assert importlib.util.find_spec("recsys") is None, "recsys is importable, which proves nothing"
import mlflow, pandas
mlflow.set_tracking_uri(sys.argv[2])
model = mlflow.pyfunc.load_model("models:/small/1")
answers = model.predict(pandas.DataFrame({"history": [["i00001", "i00002"]], "k": [3]}))
import recsys
print(recsys.__file__, answers["bundle_id"][0], *answers["item_ids"][0])
"""


@pytest.fixture
def published(small_run, registry_uri):
    record = RunRecord({}, {}, [], [], {}, "", ("log", "d"))
    return Registry(registry_uri).publish("small", small_run.run / "bundle", small_run.bundle_id, record)


def test_a_version_serves_with_the_code_it_was_logged_with(small_run, registry_uri, published, tmp_path):
    """In a process that can't import recsys: nothing of this installation is used."""
    command = [sys.executable, "-I", "-S", "-W", "ignore", "-c", LOAD_WITHOUT_RECSYS]
    done = subprocess.run(
        [*command, sysconfig.get_path("purelib"), registry_uri],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    source, bundle_id, *item_ids = done.stdout.split()
    assert source.startswith(str(tmp_path / "mlartifacts"))
    assert bundle_id == small_run.bundle_id
    assert len(item_ids) == 3


def test_the_whole_package_is_logged(registry_uri, published):
    code = Registry(registry_uri).bundle_path(published).parents[1] / "code" / "recsys"
    logged = {str(path.relative_to(code)) for path in code.rglob("*.py*") if path.suffix != ".pyc"}
    assert logged == {str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py*") if path.suffix != ".pyc"}
    assert {"pyfunc.py", "retriever/retriever.py", "registry/runs.py", "search/__init__.pyi"} <= logged


def test_requirements_name_what_serves():
    names = [line.split("==")[0] for line in runs.requirements()]
    assert {"torch", "polars", "mlflow"} < set(names)
    assert not {"torchrec", "fbgemm-gpu", "fbgemm-gpu-cpu"} & set(names)  # needed to train sharded tables only
    assert {"faiss-cpu", "faiss-gpu", "faiss-gpu-cuvs"} & set(names)
    assert all("+" not in line and "==" in line for line in runs.requirements())


def test_a_training_is_not_lost_to_a_text_that_mlflow_refuses(small_run, registry_uri):
    odd = "a\x00b\ud800" + "x" * 100_000
    record = RunRecord(
        parameters={f"key {number}[\n]" + "k" * 300: odd for number in range(120)},
        metrics={"good": 1.0, "nan": float("nan"), "a@b": 2.0},
        learning_curve=[{"loss": float("inf"), "score": 0.5}],
        files=[],
        tags={"recsys.odd\x00": odd},
        description=odd,
        data=(odd, "d"),
    )
    store = Registry(registry_uri)
    version = store.publish("small", small_run.run / "bundle", small_run.bundle_id, record)
    run = store.client.get_run(version.run_id)
    assert len(run.data.params) == 120
    assert {len(value) for value in run.data.params.values()} == {6_000}
    assert (run.data.metrics["good"], run.data.metrics["a_b"], "nan" in run.data.metrics) == (1.0, 2.0, False)
    assert set(run.data.metrics) & {"epoch/loss", "epoch/score"} == {"epoch/score"}
    assert version.tags["recsys.odd_"].startswith("a\ufffdb\ufffdxxx")


def test_an_ordinary_record_is_stored_as_it_is():
    record = RunRecord({"dropout": "0.5"}, {"geometry/hubness": 1.0}, [{"loss": 1.0}], [], {"a": "b"}, "c", ("d", "e"))
    assert accepted(record) == record
