"""Which losses are fused, and what is said about those that could be but are not."""

import importlib.util
import logging
import shutil
import sysconfig

import pytest
import torch

from training.loss import fusable


class OnGpu:
    """Stands for a tensor on a GPU, which is not there."""

    is_cuda, device = True, "cuda:0"

    def __init__(self, num_members=2, num_tokens=2048, dim=64, dtype=torch.float32):
        self.shape, self.dtype = (num_members, num_tokens, dim), dtype


@pytest.fixture(autouse=True)
def nothing_is_remembered():
    """Neither what was said, nor in the end what a test took away."""
    fusable._warn_once.cache_clear()
    fusable.missing_tool.cache_clear()
    yield
    fusable.missing_tool.cache_clear()


@pytest.fixture
def capability(monkeypatch, tmp_path):
    """A function that sets the compute capability of the GPU, in whose machine nothing is missing."""
    monkeypatch.setenv("CC", "cc")
    monkeypatch.setattr(sysconfig, "get_paths", lambda: {"include": str(tmp_path)})
    (tmp_path / "Python.h").touch()

    def set_to(*capability):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)

    set_to(9, 0)
    return set_to


def test_on_the_cpu_nothing_is_fused_and_nothing_is_said(caplog):
    assert not fusable.is_fusable(torch.zeros(1, 3, 64), 5)
    assert not caplog.messages


@pytest.mark.parametrize("users", [OnGpu(), OnGpu(dim=1), OnGpu(dim=256), OnGpu(num_tokens=65_536)])
def test_what_a_gpu_takes(users, capability, caplog):
    assert fusable.is_fusable(users, 65_536)
    capability(8, 0)
    assert fusable.is_fusable(users, 65_536)
    assert not caplog.messages


@pytest.mark.parametrize(
    ("users", "num_negatives", "reason"),
    [
        (OnGpu(dim=257), 8, "model.embedding_dim is 257; the kernels take at most 256"),
        (OnGpu(dtype=torch.float64), 8, "the vectors are torch.float64; the kernels take torch.float32"),
        (OnGpu(), 1 << 23, "2048 tokens and 8388608 negatives are too many; use smaller batches"),
        (OnGpu(num_tokens=1 << 18), 1 << 17, "262144 tokens and 131072 negatives are too many; use smaller batches"),
    ],
)
def test_what_it_does_not_take(users, num_negatives, reason, capability, caplog):
    assert not fusable.is_fusable(users, num_negatives)
    assert caplog.messages == [f"the loss is not fused, which makes it several times slower: {reason}"]


def test_a_gpu_without_bf16_products(capability, caplog):
    capability(7, 5)
    assert not fusable.is_fusable(OnGpu(), 8)
    assert caplog.messages[0].endswith("this GPU has compute capability 7.5; bf16 products need 8.0 or more")


def test_without_triton_one_warning_says_what_to_install(capability, monkeypatch, caplog):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for _ in range(3):
        assert not fusable.is_fusable(OnGpu(), 8)
    assert caplog.messages == [
        "the loss is not fused, which makes it several times slower: triton is not installed; run: pip install triton"
    ]
    assert caplog.records[0].levelno == logging.WARNING


def test_triton_needs_a_compiler(capability, monkeypatch, caplog):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.delenv("CC", raising=False)
    assert not fusable.is_fusable(OnGpu(), 8)
    assert "triton finds no C compiler; install gcc" in caplog.messages[0]
    fusable.missing_tool.cache_clear()
    monkeypatch.setenv("CC", "cc")
    assert fusable.is_fusable(OnGpu(), 8)


def test_triton_needs_the_headers_of_python(capability, monkeypatch, caplog, tmp_path):
    (tmp_path / "Python.h").unlink()
    assert not fusable.is_fusable(OnGpu(), 8)
    assert "triton finds no Python.h; install the headers" in caplog.messages[0]
