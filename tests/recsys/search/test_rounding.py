import subprocess
import sys

import numpy as np
import pytest
import torch

from recsys.search import rounding
from recsys.search.rounding import dtype_for_many, largest_factor, row_scales, whole_numbers


@pytest.fixture
def cpu(monkeypatch):
    """A function: pretend that the CPU has these instructions, and that products with these factors come out right."""

    def pretend(*instructions, torch_uses="AVX512", exact=(64, 127)):
        monkeypatch.setattr(rounding, "cpu_supports", lambda name: name in instructions)
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: torch_uses)
        monkeypatch.setattr(rounding, "_is_exact", lambda factor: factor in exact)

    return pretend


@pytest.mark.parametrize(
    ("instructions", "torch_uses", "exact", "factor", "dtype"),
    [
        (("avx512_vnni",), "AVX512", (64, 127), 127, torch.int8),
        (("avx_vnni",), "AVX2", (64, 127), 127, torch.int8),
        ((), "AVX2", (64,), 64, torch.int8),
        (("avx512_vnni",), "AVX2", (64,), 64, torch.int8),  # as ONEDNN_MAX_CPU_ISA=AVX2 makes it
        ((), "AVX2", (), 0, torch.float32),
        ((), "AVX512", (64,), 0, torch.float32),  # floats are as fast there
        ((), "DEFAULT", (64, 127), 0, torch.float32),
        (("amx_bf16", "avx512_vnni"), "AVX512", (64, 127), 127, torch.bfloat16),
    ],
)
def test_what_a_cpu_multiplies_fastest(cpu, instructions, torch_uses, exact, factor, dtype):
    cpu(*instructions, torch_uses=torch_uses, exact=exact)
    assert (largest_factor(64), dtype_for_many(64)) == (factor, dtype)


def test_sums_that_do_not_fit_32_bits_are_not_of_bytes(cpu):
    cpu("avx512_vnni")
    assert largest_factor(133_144) == 127
    assert largest_factor(133_145) == 0


def test_a_library_that_overflows_is_noticed():
    """In another process, since the library reads the variable once."""
    code = "from recsys.search.rounding import _is_exact; print(_is_exact(127), _is_exact(64))"
    variables = {"ONEDNN_MAX_CPU_ISA": "AVX2", "PATH": ""}
    done = subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True, check=True)
    if torch.backends.cpu.get_cpu_capability() not in {"AVX2", "AVX512"}:
        pytest.skip("this CPU has no AVX2")
    assert done.stdout.split() == ["False", "True"]


def test_rows_become_whole_numbers_of_their_scale():
    vectors = torch.tensor([[1.0, -2.0], [0.0, 0.0], [3e-39, -1e-44]])
    scale = row_scales(vectors)
    whole = whole_numbers(vectors, scale)
    assert whole[:2].tolist() == [[64.0, -127.0], [0.0, 0.0]]
    assert (whole.abs() <= 127).all()
    np.testing.assert_allclose((whole * scale)[0], vectors[0], atol=2 / 254)
