"""The doctor names what is installed, what is missing, and how to install it."""

import importlib

import pytest

from recsys.actions import doctor
from recsys.search import exact_batch


def test_names_every_library_with_its_version():
    examination = doctor.examine()
    assert examination.healthy
    assert set(examination.libraries) == set(doctor.LIBRARIES)
    assert all(examination.libraries.values())
    assert {line.split()[0] for line in examination.lines()} >= {"python", "processors", "GPU", *doctor.LIBRARIES}


@pytest.mark.parametrize(
    ("units", "few", "many"),
    [((), "float32", "float32"), (("avx_vnni",), "bytes", "float32"), (("amx_bf16",), "float32", "bfloat16")],
)
def test_says_how_this_cpu_searches(monkeypatch, units, few, many):
    monkeypatch.setattr(exact_batch.torch.cpu, "get_capabilities", lambda: dict.fromkeys(units, True))
    assert f"CPU search  exact candidates of a few users by {few}, of many by {many}" in doctor.examine().lines()


def test_says_what_is_missing_and_how_to_install_it(monkeypatch):
    real = importlib.import_module

    def without_faiss(name):
        if name == "faiss":
            raise ImportError("no faiss here\nand more")
        return real(name)

    monkeypatch.setattr(importlib, "import_module", without_faiss)
    examination = doctor.examine()
    assert not examination.healthy
    assert examination.libraries["faiss"] is None
    assert f"faiss       MISSING (no faiss here); {doctor.REMEDY}" in examination.lines()
