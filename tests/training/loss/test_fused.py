"""The fused loss without a GPU: what it computes, by Triton's interpreter, and its launches, by a pretend driver."""

import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import triton
from torch.utils._python_dispatch import TorchDispatchMode
from triton.backends.compiler import GPUTarget

from recsys.data.jagged import Jagged
from training.batches.negatives import Negatives, OwnItems
from training.loss import Mask, fused, kernels, sampled_softmax

CASES = Path(__file__).with_name("fused_cases.py")


def test_cases_in_the_interpreter():
    """In a process of their own, because Triton must be told before it is imported. There, a skip is a failure."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", str(CASES)],
        env=os.environ | {"TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^\d+ passed in ", done.stdout, re.MULTILINE), done.stdout


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU")
def test_cases_on_a_gpu():
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", str(CASES)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


class PretendDriver:
    """A GPU of the type of an H100 that Triton compiles for, and that notes what it is asked to run."""

    def __init__(self):
        self.launches = []
        self.utils = SimpleNamespace(
            load_binary=lambda name, binary, shared, device: (object(), object(), 0, 0, 1024),
            get_device_properties=lambda device: {"max_shared_mem": 227 * 1024},
        )

    def launcher_cls(self, source, metadata):
        names = source.fn.arg_names

        def launch(x, y, z, stream, function, packed, launch_metadata, enter, leave, *args):
            assert all(not isinstance(arg, torch.Tensor) or arg.is_contiguous() for arg in args)
            self.launches.append((metadata.name, (x, y, z), dict(zip(names, args, strict=True))))

        return launch

    def get_current_device(self):
        return 0

    def get_current_stream(self, device):
        return 0

    def get_current_target(self):
        return GPUTarget("cuda", 90, 32)


class Operations(TorchDispatchMode):
    """Counts what torch would launch beside our kernels: every operation but views and allocations."""

    FREE = ("view", "select", "slice", "expand", "unsqueeze", "transpose", "alias", "detach", "empty", "permute")

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        if not any(word in name for word in self.FREE):
            self.names.append(name)
        return function(*args, **(kwargs or {}))


@pytest.fixture
def driver(monkeypatch):
    driver = PretendDriver()
    monkeypatch.setattr(triton.runtime.driver, "_active", driver)
    monkeypatch.setattr("training.loss.softmax.is_fusable", lambda *_: True)
    monkeypatch.setattr(fused, "_architecture", lambda device: 90)
    yield driver
    for kernel in (kernels.forward, kernels.backward, kernels.own_bits):
        kernel.device_caches.clear()


def step(num_members, num_tokens, num_negatives, dim, own):
    """The operations of a loss and its gradients, which are whatever was in memory, and the negatives."""
    users, positives = (torch.zeros(num_tokens, num_members, dim, requires_grad=True).transpose(0, 1) for _ in range(2))
    negatives = torch.zeros(num_members, num_negatives, dim, requires_grad=True)
    ids = [torch.zeros(count, dtype=torch.int64) for count in (num_tokens, num_negatives)]
    mask = Mask(ids[0])
    if own:
        owners, histories = torch.zeros(num_tokens, dtype=torch.int64), Jagged.from_rows([[3, 5]])
        mask = Mask(ids[0], owners, OwnItems.from_histories(histories))
    pool = Negatives(ids[1], negatives, torch.zeros(num_negatives))
    temperature = torch.tensor(0.1, requires_grad=True)
    with Operations() as operations:
        sampled_softmax(users, positives, pool, mask, temperature=temperature).mean().backward()
    return operations.names, negatives


@pytest.mark.parametrize("own", [False, True], ids=["", "own items masked"])
def test_launches_of_a_step(own, driver):
    """One for each kernel, compiled once for all shapes; torch's own are few, and none makes the host wait."""
    for size in ((2, 2048, 4096), (1, 1, 1), (1, 33, 257), (3, 64, 0)):
        driver.launches.clear()
        operations, negatives = step(*size, 16, own)
        assert [name for name, *_ in driver.launches] == ["own_bits"] * own + ["forward", "backward"]
        assert negatives.grad.shape == negatives.shape
        assert len(operations) <= 40, operations
        assert not {"_local_scalar_dense", "nonzero", "_unique2", "repeat_interleave"} & set(operations)
    for kernel in (kernels.forward, kernels.backward):
        ((compiled, *_),) = kernel.device_caches.values()
        assert len(compiled) == 1


def test_the_grid_of_a_step(driver):
    step(2, 2048, 4096, 16, True)
    (_, bits_grid, _), (_, forward_grid, forward), (_, backward_grid, backward) = driver.launches
    blocks = kernels.Blocks.of(90, 16, mask_own=True)
    assert bits_grid == (2048, 4096 // 32 // kernels.WORDS, 1)
    assert forward_grid[::2] == (2048 // blocks.rows, 2)
    assert backward_grid[::2] == (4096 // blocks.rows, 2)
    assert forward["span"] * forward_grid[1] >= 4096 > forward["span"] * (forward_grid[1] - 1)
    assert backward["span"] * backward_grid[1] >= 2048 > backward["span"] * (backward_grid[1] - 1)
    assert forward["users_KTD"].dtype == backward["negatives_KND"].dtype == torch.bfloat16
    assert forward["mean_SKTD"].shape == (forward_grid[1], 2, 2048, 16)
    assert backward["out_SKND"].shape == (backward_grid[1], 2, 4096, 16)
