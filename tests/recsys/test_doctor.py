import importlib

import pytest

from recsys import doctor
from recsys.search import exact_batch


def test_names_every_library_with_its_version():
    lines, healthy = doctor.examine()
    assert healthy
    assert {line.split()[0] for line in lines} >= set(doctor.NEEDED)
    assert not any("MISSING" in line for line in lines)


@pytest.mark.parametrize(
    ("units", "few", "many"),
    [((), "float32", "float32"), (("avx_vnni",), "bytes", "float32"), (("amx_bf16",), "float32", "bfloat16")],
)
def test_says_how_this_cpu_searches(monkeypatch, units, few, many):
    monkeypatch.setattr(exact_batch.torch.cpu, "get_capabilities", lambda: dict.fromkeys(units, True))
    lines, _ = doctor.examine()
    assert f"CPU search  exact candidates of a few users by {few}, of many by {many}" in lines


def test_says_what_is_missing_and_how_to_mend_it(monkeypatch):
    real = importlib.import_module

    def without_faiss(name):
        if name == "faiss":
            raise ImportError("no faiss here\nand more")
        return real(name)

    monkeypatch.setattr(importlib, "import_module", without_faiss)
    lines, healthy = doctor.examine()
    assert not healthy
    assert [line for line in lines if "MISSING" in line] == [f"faiss       MISSING (no faiss here); {doctor.MEND}"]
