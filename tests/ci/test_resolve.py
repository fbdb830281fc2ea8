"""Every extra is resolved, as a user's pip would, and a conflict fails with the resolver's words. No network."""

import importlib.util
import os
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def resolve():
    spec = importlib.util.spec_from_file_location("resolve", ROOT / ".ci" / "resolve.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def variables(tmp_path):
    """The environment of a pip that knows four wheels and no index."""
    for name, version, needs in (
        ("runtime", "13.0", ""), ("runtime", "13.2", ""), ("faiss_new", "1", "runtime==13.2"),
        ("torch_like", "2", "runtime==13.0"),
    ):  # fmt: skip
        info = f"{name}-{version}.dist-info"
        with zipfile.ZipFile(tmp_path / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
            requires = f"Requires-Dist: {needs}\n" if needs else ""
            wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requires}")
            wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{info}/RECORD", "")
    return os.environ | {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path), "PIP_CONFIG_FILE": os.devnull}


def test_a_gpu_machine_resolves_all_extras_but_cpu_together(resolve):
    pyproject = """
        [project]
        dependencies = ["polars"]
        [project.optional-dependencies]
        cpu = ["torch"]
        cuda = ["torch", "torchrec"]
        new = ["other"]
    """
    assert resolve.installations(pyproject) == {
        "cpu": ["polars", "torch"],
        "cuda": ["polars", "torch", "torchrec"],
        "new": ["polars", "other"],
        "cuda,new": ["polars", "torch", "torchrec", "other"],
    }


def test_the_extras_are_those_of_the_project(resolve):
    needed = resolve.installations((ROOT / "pyproject.toml").read_text())
    assert {"cpu", "cuda", "cuda-search", "dev"} <= set(needed)


def test_additional_indexes_are_left_out_and_another_main_index_is_not(resolve):
    more = {"PIP_FIND_LINKS": "/wheels", "PIP_EXTRA_INDEX_URL": "file:///more", "PIP_CONSTRAINT": "c.txt"}
    kept = {"HOME": "/h", "PIP_INDEX_URL": "file:///mirror"}
    assert resolve.environment(more | kept) == kept | {"PIP_CONFIG_FILE": os.devnull}


def test_the_versions_are_named_and_a_conflict_is_told_in_the_resolvers_words(resolve, variables):
    assert resolve.dry_run(["faiss-new"], variables) == {"faiss-new": "1", "runtime": "13.2"}
    assert resolve.outcome(["torch-like"], variables) == (True, "2 packages, torch-like 2")
    resolved, words = resolve.outcome(["torch-like", "faiss-new"], variables)
    assert not resolved
    assert words.startswith("ERROR: Cannot install")
    assert "faiss-new 1 depends on runtime==13.2" in words
    assert not resolve.outcome(["not-there"], variables)[0]
