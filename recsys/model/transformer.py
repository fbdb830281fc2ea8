"""The blocks that read an ordered history: causal attention with rotary positions and moving averages, and SwiGLU.

Shape suffixes: K members, B users, L history length, D embedding_dim, H horizons or the dimensions of a head.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .kernels import Dropout, RMSNorm, add_gated, rotate, swiglu
from .member_linear import MemberLinear, apply_together
from .running_means import weighted_means

HORIZONS = (1, 2, 3, 4, 16, 64)  # how many events are averaged; one more average covers the whole history


class MovingAverages(nn.Module):
    """A weighted sum of the means of the last 1, 2, 3, ... events, with learned weights per channel that start at 0.

    A low-pass filter that complements attention, which picks out single events: the causal counterpart of BSARec's
    frequency filters (Shin et al. 2024).
    """

    def __init__(self, num_members: int, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(num_members, len(HORIZONS) + 1, dim))

    def forward(self, x_KBLD: Tensor, last_B: Tensor | None = None) -> Tensor:
        """For every event, the sum over the events up to it, [K, B, L, D].

        With ``last_B``, the index of each history's last event, for that event only, [K, B, 1, D].
        """
        return weighted_means(x_KBLD, self.weight, HORIZONS, last_B)


class Block(nn.Module):
    """Causal attention with moving averages, then SwiGLU: both pre-norm and gated (LiGR, Borisyuk et al. 2024)."""

    def __init__(self, num_members: int, dim: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.attention_norm = RMSNorm(num_members, dim)
        self.query = MemberLinear(num_members, dim, dim)
        self.key_value = MemberLinear(num_members, dim, 2 * dim)
        self.attention_out = MemberLinear(num_members, dim, dim)
        self.averages = MovingAverages(num_members, dim)
        self.attention_gate = MemberLinear(num_members, dim, dim)
        self.swiglu_norm = RMSNorm(num_members, dim)
        self.swiglu_in = MemberLinear(num_members, dim, 8 * dim)
        self.swiglu_out = MemberLinear(num_members, 4 * dim, dim)
        self.swiglu_gate = MemberLinear(num_members, dim, dim)
        self.dropout = Dropout(dropout)

    def forward(self, x_KBLD: Tensor, rotation_LH: Tensor, last_B: Tensor | None = None) -> Tensor:
        """One vector per event, [K, B, L, D]; with ``last_B`` for that event of each history only, [K, B, 1, D].

        rotation_LH: as ``kernels.rotation`` returns it. last_B: index of each history's last event.
        """
        normed = self.attention_norm(x_KBLD)
        if last_B is None:
            maps = apply_together([self.key_value, self.query, self.attention_gate], normed)
            key, value = (self._heads(part) for part in next(maps).chunk(2, dim=-1))
            averaged = self.averages(normed)
            query, key = rotate([self._heads(next(maps)), key], rotation_LH)
            attended = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        else:
            key, value = (self._heads(part) for part in self.key_value(normed).chunk(2, dim=-1))
            averaged = self.averages(normed, last_B)
            rows, members = torch.arange(len(last_B), device=last_B.device), len(x_KBLD)
            x_KBLD, normed = x_KBLD[:, rows, last_B].unsqueeze(2), normed[:, rows, last_B].unsqueeze(2)
            maps = apply_together([self.query, self.attention_gate], normed)
            (key,) = rotate([key], rotation_LH)
            (query,) = rotate([self._heads(next(maps))], rotation_LH[last_B].repeat(members, 1)[:, None, None])
            is_event = torch.arange(key.shape[2], device=last_B.device) <= last_B.unsqueeze(1)
            attended = F.scaled_dot_product_attention(
                query, key, value, attn_mask=is_event.repeat(members, 1)[:, None, None]
            )
        attended = self.attention_out(attended.transpose(1, 2).reshape(x_KBLD.shape)) + averaged
        x_KBLD = add_gated(x_KBLD, next(maps), self.dropout(attended))
        normed = self.swiglu_norm(x_KBLD)
        changed = self.dropout(self.swiglu_out(swiglu(self.swiglu_in(normed))))
        return add_gated(x_KBLD, self.swiglu_gate(normed), changed)

    def _heads(self, x_KBLD: Tensor) -> Tensor:
        """[K * B, heads, L, D / heads]: attention knows no members."""
        return x_KBLD.reshape(-1, x_KBLD.shape[2], self.num_heads, x_KBLD.shape[3] // self.num_heads).transpose(1, 2)
