"""The kernels of the fused loss compile for real GPUs; what they compute, test_fused.py tests."""

import pytest
import torch

from benchmarks.gpu import kernels as compiled
from training.loss import fusable, fused, kernels

SHARED_LIMITS = {90: 227, 80: 99}  # KiB of a program: Hopper, and the smallest since Ampere (the A100 has 163)
MOST_SPILLED = 64  # bytes


@pytest.mark.parametrize(("dim", "mask_own"), [(64, True), (128, True), (256, True), (256, False)])
@pytest.mark.parametrize("architecture", [80, 90])
def test_registers_shared_memory_and_products(architecture, dim, mask_own):
    """Fewer dimensions take less, and so do the same blocks without a mask."""
    costs = compiled.costs(architecture, dim, mask_own=mask_own).values()
    assert all(100 < cost.registers <= 255 for cost in costs)
    assert all(cost.spilled <= MOST_SPILLED for cost in costs)
    assert all(1024 <= cost.shared <= SHARED_LIMITS[architecture] * 1024 for cost in costs)
    assert [cost.products for cost in costs] == [2, 2]


def test_a_block_that_is_too_large_spills():
    """The figures can exceed their limits."""
    blocks = {"D": 64, "MASK_OWN": True, "BLOCK_R": 64, "BLOCK_C": 128}
    assert compiled.compile_kernel(kernels.forward, 80, blocks).spilled > MOST_SPILLED


def test_the_lookup_of_own_items_compiles():
    for architecture in (80, 90):
        cost = compiled.compile_kernel(kernels.own_bits, architecture, {"BLOCK_W": kernels.WORDS})
        assert cost.spilled == 0
        assert cost.products == 0


def test_there_are_blocks_for_every_dimension_that_is_not_refused():
    for architecture in compiled.ARCHITECTURES:
        padded = {fused._operand(torch.zeros(1, 1, dim)).shape[2] for dim in range(1, fusable.LARGEST_DIM + 1)}
        assert padded == {dim for other, dim in kernels.BLOCKS if other == architecture} == set(compiled.DIMS)
        for dim in padded:
            for mask_own in (False, True):
                blocks = kernels.Blocks.of(architecture, dim, mask_own=mask_own)
                assert kernels.ALIGN % blocks.columns == kernels.ALIGN % blocks.rows == 0


def test_the_table_is_markdown(monkeypatch):
    monkeypatch.setattr(compiled, "ARCHITECTURES", (80,))
    monkeypatch.setattr(compiled, "DIMS", (16,))
    monkeypatch.setattr(compiled, "compile_kernel", lambda *_, **__: compiled.Cost(96, 8, 2048, 2))
    assert list(compiled.table())[2:4] == [
        "| 16 | sm_80 | forward | 64 x 64 | 4 | 3 | 96 | 8 | 2 KiB | 2 |",
        "| 16 | sm_80 | backward | 64 x 64 | 4 | 3 | 96 | 8 | 2 KiB | 2 |",
    ]
