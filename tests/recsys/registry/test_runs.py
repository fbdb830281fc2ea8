"""What MLflow stores with a run: the model as data, and the code that serves it."""

import subprocess
import sys
import sysconfig

import pytest

from recsys.registry import runs
from recsys.registry.runs import PACKAGE, RunRecord
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
    assert {"pyfunc.py", "retriever.py", "registry/runs.py", "search/__init__.pyi"} <= logged


def test_requirements_name_what_serves():
    names = [line.split("==")[0] for line in runs.requirements()]
    assert {"torch", "polars", "mlflow"} < set(names)
    assert not {"torchrec", "fbgemm-gpu", "fbgemm-gpu-cpu"} & set(names)  # needed to train sharded tables only
    assert {"faiss-cpu", "faiss-gpu-cuvs"} & set(names)
    assert all("+" not in line and "==" in line for line in runs.requirements())
