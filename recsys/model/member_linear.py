"""A linear map for each member of an ensemble, as one batched product.

Shape suffixes: K members, I inputs, O outputs.
"""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from .kernels import member_linears


class MemberLinear(nn.Module):
    """One affine map per member. Its initial weights are those of ``nn.Linear``."""

    def __init__(self, num_members: int, num_inputs: int, num_outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_members, num_outputs, num_inputs))
        self.bias = nn.Parameter(torch.empty(num_members, num_outputs))
        bound = 1 / math.sqrt(num_inputs)
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        """[K, ..., I] to [K, ..., O]."""
        return next(apply_together([self], x))


def apply_together(maps: Sequence[MemberLinear], x: Tensor) -> Iterator[Tensor]:
    """What each map makes of the same input, in turn. On a CPU nothing is computed before it is asked for."""
    return member_linears(x, [one.weight for one in maps], [one.bias for one in maps])
