"""The blocks that read an ordered history: causal attention with rotary positions and moving averages, and SwiGLU.

Shape suffixes: B users, L history length, D embedding_dim, H horizons or the dimensions of a head.
"""

from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .cpu_kernels import Dropout, RMSNorm, rotate, swiglu, weighted_means

HORIZONS = (1, 2, 3, 4, 16, 64)  # how many events are averaged; one more average covers the whole history


class MovingAverages(nn.Module):
    """A weighted sum of the means of the last 1, 2, 3, ... events, with learned weights per channel that start at 0.

    A low-pass filter that complements attention, which picks out single events: the causal counterpart of BSARec's
    frequency filters (Shin et al. 2024).
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(len(HORIZONS) + 1, dim))

    def forward(self, x_BLD: Tensor, last_B: Tensor | None = None) -> Tensor:
        """For every event, the sum over the events up to it, [B, L, D]; with ``last_B`` for that event only, [B, 1, D].

        last_B: index of each history's last event.
        """
        horizons = (*HORIZONS, x_BLD.shape[1])
        if last_B is None:
            return weighted_means(x_BLD, self.weight, horizons)
        horizon_H, end_B1 = torch.tensor(horizons, device=x_BLD.device), last_B.unsqueeze(1) + 1
        total_BLD = F.pad(x_BLD.cumsum(dim=1), (0, 0, 1, 0))
        rows_B1 = torch.arange(len(last_B), device=x_BLD.device).unsqueeze(1)
        sums_BHD = total_BLD[rows_B1, end_B1] - total_BLD[rows_B1, (end_B1 - horizon_H).clamp(min=0)]
        means_BHD = sums_BHD / torch.minimum(end_B1, horizon_H).unsqueeze(-1)
        return (means_BHD * self.weight).sum(dim=1, keepdim=True)


class Block(nn.Module):
    """Causal attention with moving averages, then SwiGLU: both pre-norm and gated (LiGR, Borisyuk et al. 2024)."""

    def __init__(self, dim: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.attention_norm = RMSNorm(dim)
        self.query = nn.Linear(dim, dim)
        self.key_value = nn.Linear(dim, 2 * dim)
        self.attention_out = nn.Linear(dim, dim)
        self.averages = MovingAverages(dim)
        self.attention_gate = nn.Linear(dim, dim)
        self.swiglu_norm = RMSNorm(dim)
        self.swiglu_in = nn.Linear(dim, 8 * dim)
        self.swiglu_out = nn.Linear(4 * dim, dim)
        self.swiglu_gate = nn.Linear(dim, dim)
        self.dropout = Dropout(dropout)

    def forward(self, x_BLD: Tensor, rotation_LH: Tensor, last_B: Tensor | None = None) -> Tensor:
        """One vector per event, [B, L, D]; with ``last_B`` for that event of each history only, [B, 1, D].

        rotation_LH: as ``rotation`` returns it. last_B: index of each history's last event.
        """
        normed = self.attention_norm(x_BLD)
        key, value = (self._heads(part) for part in self.key_value(normed).chunk(2, dim=-1))
        key, averaged = rotate(key, rotation_LH), self.averages(normed, last_B)
        if last_B is None:
            query = rotate(self._heads(self.query(normed)), rotation_LH)
            attended = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        else:
            rows = torch.arange(len(last_B), device=last_B.device)
            x_BLD, normed = x_BLD[rows, last_B].unsqueeze(1), normed[rows, last_B].unsqueeze(1)
            query = rotate(self._heads(self.query(normed)), rotation_LH[last_B].unsqueeze(1).unsqueeze(1))
            is_event = torch.arange(key.shape[2], device=last_B.device) <= last_B.unsqueeze(1)
            attended = F.scaled_dot_product_attention(query, key, value, attn_mask=is_event[:, None, None])
        attended = self.attention_out(attended.transpose(1, 2).flatten(2)) + averaged
        x_BLD = x_BLD + torch.sigmoid(self.attention_gate(normed)) * self.dropout(attended)
        normed = self.swiglu_norm(x_BLD)
        changed = self.dropout(self.swiglu_out(swiglu(self.swiglu_in(normed))))
        out: Tensor = x_BLD + torch.sigmoid(self.swiglu_gate(normed)) * changed
        return out

    def _heads(self, x_BLD: Tensor) -> Tensor:
        return x_BLD.view(*x_BLD.shape[:2], self.num_heads, -1).transpose(1, 2)


@lru_cache(maxsize=64)
def rotation(length: int, head_dim: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Rotary position embeddings [length, head_dim], for ``rotate``: cosines, then sines (RoPE, Su et al. 2021)."""
    half = head_dim // 2
    frequency = 10_000.0 ** (-torch.arange(half, dtype=torch.float64) / half)
    angle = torch.arange(length, dtype=torch.float64).unsqueeze(1) * frequency
    return torch.cat([angle.cos(), angle.sin()], dim=-1).to(device, dtype)
