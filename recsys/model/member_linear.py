"""A linear map for each member of an ensemble, as one batched product.

Shape suffixes: K members, I inputs, O outputs, R rows.
"""

import math

import torch
from torch import Tensor, nn


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
        out_KRO = torch.baddbmm(self.bias.unsqueeze(1), x.flatten(1, -2), self.weight.mT)
        return out_KRO.view(*x.shape[:-1], -1)
