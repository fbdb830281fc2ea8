"""Vectors rounded to what this CPU multiplies fastest: whole numbers of a byte, bfloat16, or not at all.

Legend: N vectors, D dimensions.
"""

from collections.abc import Callable
from functools import cache, partial
from typing import Any, TypeVar

import torch
from torch import Tensor

from .rescoring import FLOAT32_TINY
from .threads import run_parallel
from .vectors import norms

LARGEST = 127  # a signed byte's range in both directions
HALF = 64  # the largest number whose products with bytes are added by pairs in 16 bits without overflow
ROUNDED_AT_ONCE = 2**14  # rows of the catalogue

Result = TypeVar("Result")


def cpu_supports(instructions: str) -> bool:
    """Whether this CPU has these instructions, by torch's name; False for a torch that does not say."""
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get(instructions, False))


def dtype_for_many(dim: int) -> torch.dtype:
    """To what vectors of ``dim`` numbers are best rounded for the products of many users with many items."""
    if cpu_supports("amx_bf16"):  # AVX-512's own bfloat16 gains nothing
        return torch.bfloat16
    return torch.int8 if largest_factor(dim) else torch.float32


def largest_factor(dim: int) -> int:
    """The largest number by which vectors of ``dim`` bytes can be multiplied fast; 0 if floats are faster.

    CPUs with VNNI add the products of bytes in 32 bits, so that any byte can be a factor. With AVX2 alone they are
    added by pairs in 16 bits, which overflow unless one factor is at most 64; that still takes half as long as floats.
    The answer of torch is compared with the right one, since its library can be set to use other instructions than the
    CPU has.
    """
    if dim * LARGEST**2 >= 2**31 or not hasattr(torch, "_int_mm"):
        return 0
    if (cpu_supports("avx512_vnni") or cpu_supports("avx_vnni")) and _is_exact(LARGEST):
        return LARGEST
    return HALF if torch.backends.cpu.get_cpu_capability() == "AVX2" and _is_exact(HALF) else 0


@cache
def _is_exact(factor: int) -> bool:
    """Whether products of the largest bytes with this factor come out right, for one user and for many."""
    items_ND = torch.full((64, 64), LARGEST, dtype=torch.int8)
    items_ND[1::2] = -LARGEST
    for num_users in (1, 64):
        users_DB = torch.full((64, num_users), factor, dtype=torch.int8)
        users_DB[:, 1::2] = -factor
        right_NB = items_ND.double() @ users_DB.double()
        if not torch.equal(torch._int_mm(items_ND, users_DB).double(), right_NB):
            return False
    return True


def by_parts(work: Callable[[slice, Tensor], Result], items_ND: Tensor) -> list[Result]:
    """Call ``work`` on parts of the catalogue, which may be too large for a temporary copy; returns the results."""
    parts = [slice(start, start + ROUNDED_AT_ONCE) for start in range(0, len(items_ND), ROUNDED_AT_ONCE)]
    return run_parallel([partial(work, part, items_ND[part]) for part in parts])


def row_scales(vectors_ND: Tensor, largest: int = LARGEST) -> Tensor:
    """For each row the number [N, 1] that scales its largest absolute value to ``largest``."""
    return (vectors_ND.abs().amax(dim=1, keepdim=True) / largest).clamp(min=FLOAT32_TINY)


def whole_numbers(vectors_ND: Tensor, scale: Tensor, largest: int = LARGEST) -> Tensor:
    """The rows divided by ``scale`` and rounded to whole numbers of at most ``largest``, as float32."""
    return (vectors_ND / scale).round_().clamp_(-largest, largest)


def rounded_up(numbers: Tensor, dtype: torch.dtype) -> Tensor:
    """The least numbers of a dtype, float32 or bfloat16, that are not below float32 numbers of at least 0."""
    if dtype == torch.float32:
        return numbers
    return ((numbers.view(torch.int32) + 0xFFFF) >> 16).to(torch.int16).view(torch.bfloat16)


def lengths(vectors_ND: Tensor) -> Tensor:
    """The rows' lengths [N], float64."""
    return torch.from_numpy(norms(vectors_ND.numpy()))
