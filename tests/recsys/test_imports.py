"""What importing costs: each case in a process of its own."""

import subprocess
import sys

import recsys
from recsys.config import load_config

HEAVY = ("torch", "torchrec", "polars", "numpy", "pandas", "mlflow", "altair", "faiss", "pydantic")
UNNEEDED = ("torchrec", "fbgemm_gpu", "mlflow", "pandas", "altair", "scipy", "sklearn", "fastapi")


def loaded(statement, names):
    """Which of ``names`` a statement loads, and what it prints to stderr."""
    script = f"import sys\n{statement}\nprint(*[name for name in {names!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True)
    return done.stdout.split(), done.stderr


def test_importing_recsys_loads_nothing_heavy():
    assert loaded("import recsys; recsys.__version__", HEAVY) == ([], "")


def test_the_retriever_loads_only_what_serving_needs_and_prints_no_warning():
    statement = """from recsys import Retriever
from recsys.retriever import Retriever as by_its_module
assert Retriever is by_its_module"""
    assert loaded(statement, UNNEEDED) == ([], "")


def test_the_configuration_is_loaded_without_torch():
    assert loaded("import recsys; recsys.load_config", ("torch", "polars")) == ([], "")
    assert recsys.load_config is load_config
