"""What the kernels of the fused loss cost on a GPU, from their compilation. It needs Triton, but no GPU.

    python -m benchmarks.gpu.kernels

For every number of dimensions and architecture (compute capability): the block, the warps and pipeline stages of a
program, the registers of a thread and the bytes it spills from them, the shared memory of a program, and the matrix
products, each of T * N * d multiplications. "own": with items of users' histories masked.
"""

import contextlib
import io
import itertools
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import triton
from triton import knobs
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from training.loss import kernels
from training.loss.kernels import Blocks

DIMS, ARCHITECTURES = (16, 32, 64, 128, 256), (90, 80)
TYPES = {
    "users_KTD": "*bf16", "negatives_KND": "*bf16", "positive_ids_T": "*i64", "negative_ids_N": "*i64",
    "own_rows_T": "*i64", "own_bits_TW": "*i32", "users_T": "*i64", "offsets": "*i64", "own_ids": "*i64",
    **dict.fromkeys(kernels.SHAPES, "i32"),
}  # fmt: skip


@dataclass(frozen=True)
class Cost:
    """Of one kernel as compiled: registers of a thread, bytes spilled from them, bytes of shared memory, products."""

    registers: int
    spilled: int
    shared: int
    products: int


def compile_kernel(
    kernel: Any, architecture: int, constants: dict[str, int | bool], *, warps: int = 4, stages: int = 3
) -> Cost:
    """As a launch would compile it. What has no type in ``TYPES`` is float32."""
    names = kernel.arg_names
    signature = {name: "constexpr" if name in constants else TYPES.get(name, "*fp32") for name in names}
    if not constants.get("MASK_OWN", True):
        constants = constants | {"own_rows_T": None, "own_bits_TW": None}
        signature |= {"own_rows_T": "constexpr", "own_bits_TW": "constexpr"}
    aligned = [["tt.divisibility", 16]]
    source = ASTSource(
        kernel, signature,
        constexprs={(names.index(name),): value for name, value in constants.items()},
        attrs={(index,): aligned for index, name in enumerate(names) if signature[name].startswith("*")},
    )  # fmt: skip
    with knobs.nvidia.scope(), knobs.compilation.scope(), contextlib.redirect_stdout(io.StringIO()) as log:
        knobs.nvidia.dump_ptxas_log = knobs.compilation.always_compile = True
        compiled = triton.compile(
            source, target=GPUTarget("cuda", architecture, 32), options={"num_warps": warps, "num_stages": stages}
        )
    (registers,), (spilled,) = (
        re.findall(pattern, log.getvalue()) for pattern in (r"Used (\d+) registers", r"(\d+) bytes spill stores")
    )
    return Cost(int(registers), int(spilled), compiled.metadata.shared, compiled.asm["ttir"].count("tt.dot "))


def costs(architecture: int, dim: int, *, mask_own: bool) -> dict[str, Cost]:
    """Of both kernels, by name."""
    blocks = Blocks.of(architecture, dim, mask_own=mask_own)
    constants = {"D": dim, "MASK_OWN": mask_own, "BLOCK_R": blocks.rows, "BLOCK_C": blocks.columns}
    return {
        name: compile_kernel(
            getattr(kernels, name), architecture, constants, warps=blocks.warps, stages=blocks.stages
        )
        for name in ("forward", "backward")
    }  # fmt: skip


def table() -> Iterator[str]:
    yield "| d | architecture | kernel | block | warps | stages | registers | spilled | shared memory | products |"
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for architecture, dim, mask_own in itertools.product(ARCHITECTURES, DIMS, (False, True)):
        blocks = Blocks.of(architecture, dim, mask_own=mask_own)
        for name, cost in costs(architecture, dim, mask_own=mask_own).items():
            label = f"{name}, own" if mask_own else name
            yield (
                f"| {dim} | sm_{architecture} | {label} | {blocks.rows} x {blocks.columns} | {blocks.warps} "
                f"| {blocks.stages} | {cost.registers} | {cost.spilled} | {cost.shared / 1024:.0f} KiB "
                f"| {cost.products} |"
            )


if __name__ == "__main__":
    for line in table():
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
