"""Layers whose implementation depends on the device: these, and the one in running_means.py.

A CPU is memory-bound, and autograd makes extra passes over memory: there, layers have hand-written backward passes. On
any other device every operation has to be launched, so layers are made of few and large ones.

Shape suffixes: K members, L history length, D embedding_dim, H the dimensions of a head, R rows, I inputs, O outputs.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F


def member_linears(x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor]) -> Iterator[Tensor]:
    """Several affine maps per member of the same input, [K, ..., I] to [K, ..., O] each, in turn.

    Args:
        x: the input.
        weights: [K, O, I] of each map.
        biases: [K, O] of each map.
    """
    if x.device.type != "cpu":
        together_KRO = apply(_MemberLinears, x.flatten(1, -2), *weights, *biases)
        sizes = [bias_KO.shape[1] for bias_KO in biases]
        parts = [together_KRO] if len(sizes) == 1 else torch.split(together_KRO, sizes, dim=2)
        yield from (part_KRO.view(*x.shape[:-1], -1) for part_KRO in parts)
        return
    for weight_KOI, bias_KO in zip(weights, biases, strict=True):
        part_KRO = torch.baddbmm(bias_KO.unsqueeze(1), x.flatten(1, -2), weight_KOI.mT)
        yield part_KRO.view(*x.shape[:-1], -1)


class _MemberLinears(torch.autograd.Function):
    """One product for all maps. Gradients get the layout of their weights; autograd would have to copy them."""

    @staticmethod
    def forward(ctx: Any, x_KRI: Tensor, *weights_and_biases: Tensor) -> Tensor:
        num_maps = len(weights_and_biases) // 2
        weights, biases = weights_and_biases[:num_maps], weights_and_biases[num_maps:]
        ctx.sizes = [weight_KOI.shape[1] for weight_KOI in weights]
        weight_KOI, bias_KO = (parts[0] if num_maps == 1 else torch.cat(parts, dim=1) for parts in (weights, biases))
        if torch.is_autocast_enabled(x_KRI.device.type):  # as autocast would: what is saved must be of one dtype
            dtype = torch.get_autocast_dtype(x_KRI.device.type)
            x_KRI, weight_KOI, bias_KO = x_KRI.to(dtype), weight_KOI.to(dtype), bias_KO.to(dtype)
        ctx.save_for_backward(x_KRI, weight_KOI)
        return torch.baddbmm(bias_KO.unsqueeze(1), x_KRI, weight_KOI.mT)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_KRO: Tensor) -> tuple[Tensor, ...]:
        x_KRI, weight_KOI = ctx.saved_tensors
        parts = torch.split(grad_KRO, ctx.sizes, dim=2)
        of_weights = (part_KRO.mT @ x_KRI for part_KRO in parts)
        return grad_KRO @ weight_KOI, *of_weights, *(part_KRO.sum(dim=1) for part_KRO in parts)


def add_gated(x: Tensor, gate: Tensor, change: Tensor) -> Tensor:
    """x plus a share of a change, the sigmoid of the gate."""
    if x.device.type == "cpu":
        return x + torch.sigmoid(gate) * change
    return apply(_AddGated, x, gate, change)


class _AddGated(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, gate: Tensor, change: Tensor) -> Tensor:
        share = torch.sigmoid(gate)
        ctx.save_for_backward(share, change)
        return torch.addcmul(x, share, change)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
        share, change = ctx.saved_tensors
        return grad, torch.ops.aten.sigmoid_backward(grad * change, share), grad * share


def first_where(mask_MK1: Tensor, x_MKD: Tensor) -> Tensor:
    """Each vector, or the first of the M where the mask is set, for each of the K members."""
    if x_MKD.device.type == "cpu":
        return torch.where(mask_MK1, x_MKD[0], x_MKD)
    return apply(_FirstWhere, mask_MK1, x_MKD)


class _FirstWhere(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, mask_MK1: Tensor, x_MKD: Tensor) -> Tensor:
        ctx.save_for_backward(mask_MK1)
        return torch.where(mask_MK1, x_MKD[0], x_MKD)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_MKD: Tensor) -> tuple[None, Tensor]:
        (mask_MK1,) = ctx.saved_tensors
        own_MKD = grad_MKD.masked_fill(mask_MK1, 0.0)
        own_MKD[0].add_((grad_MKD - own_MKD).sum(dim=0))
        return None, own_MKD


def rotation(length: int, head_dim: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Rotary position embeddings for ``rotate``, one row per position (RoPE, Su et al. 2021)."""
    return _rotation(table_length(length), head_dim, dtype, device)[:length]


@lru_cache(maxsize=64)
def _rotation(length: int, head_dim: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Cosines, then sines: of each pair of channels on a CPU, else of each channel, with the sine's sign."""
    half = head_dim // 2
    frequency = 10_000.0 ** (-torch.arange(half, dtype=torch.float64) / half)
    angle = torch.arange(length, dtype=torch.float64).unsqueeze(1) * frequency
    cos, sin = angle.cos(), angle.sin()
    return torch.cat([cos, sin] if device.type == "cpu" else [cos, cos, -sin, sin], dim=-1).to(device, dtype)


def rotate(parts: Sequence[Tensor], rotation_LH: Tensor) -> list[Tensor]:
    """Rotate pairs of channels, one from each half of the last dimension, by angles that grow along the history.

    Args:
        parts: [..., heads, L, H] each.
        rotation_LH: as ``rotation`` returns it.
    """
    if rotation_LH.device.type == "cpu":
        return [apply(_Rotate, part, rotation_LH) for part in parts]
    # events before heads, as in memory, so that nothing is copied
    table_LH = rotation_LH[(None,) * (4 - rotation_LH.dim())].transpose(-3, -2)
    by_event = [part.transpose(-3, -2) for part in parts]
    if len(parts) == 1:
        return [apply(_RotateRolled, *by_event, table_LH).transpose(-3, -2)]
    rotated = apply(_RotateRolled, torch.cat(by_event, dim=-2), table_LH)
    split = torch.split(rotated, [part.shape[-2] for part in by_event], dim=-2)
    return [part.transpose(-3, -2) for part in split]


class _Rotate(torch.autograd.Function):
    """The backward pass rotates by the opposite angles."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, rotation_LH: Tensor) -> Tensor:
        ctx.save_for_backward(rotation_LH)
        return _rotated(x, rotation_LH, sign=1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (rotation_LH,) = ctx.saved_tensors
        return _rotated(grad, rotation_LH, sign=-1), None


def _rotated(x: Tensor, rotation_LH: Tensor, *, sign: int) -> Tensor:
    """x rotated by sign times the angles."""
    out = torch.empty_like(x)
    (first, second), (cos, sin) = x.chunk(2, dim=-1), rotation_LH.chunk(2, dim=-1)
    out_first, out_second = out.chunk(2, dim=-1)
    torch.mul(first, cos, out=out_first).addcmul_(second, sin, value=-sign)
    torch.mul(second, cos, out=out_second).addcmul_(first, sin, value=sign)
    return out


class _RotateRolled(torch.autograd.Function):
    """The same in three operations: each half of the channels is rolled to where the other one is."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, rotation_LH: Tensor) -> Tensor:
        ctx.save_for_backward(rotation_LH)
        cos, sin = rotation_LH.chunk(2, dim=-1)
        return torch.addcmul(x * cos, x.roll(x.shape[-1] // 2, dims=-1), sin)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (rotation_LH,) = ctx.saved_tensors
        cos, sin = rotation_LH.chunk(2, dim=-1)
        return torch.addcmul(grad * cos, grad.roll(grad.shape[-1] // 2, dims=-1), sin, value=-1), None


def swiglu(x: Tensor) -> Tensor:
    """SiLU of the first half of the last dimension times the second half, [..., 2 K] to [..., K] (Shazeer 2020)."""
    if x.device.type == "cpu":
        return apply(_SwiGLU, x)
    gate, up = x.chunk(2, dim=-1)
    return F.silu(gate) * up


class _SwiGLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        gate, up = x.chunk(2, dim=-1)
        return F.silu(gate).mul_(up)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        grad_x = torch.empty_like(x)
        (gate, up), (grad_gate, grad_up) = x.chunk(2, dim=-1), grad_x.chunk(2, dim=-1)
        torch.ops.aten.silu.out(gate, out=grad_up).mul_(grad)
        torch.mul(grad, up, out=grad_gate)
        torch.ops.aten.silu_backward.grad_input(grad_gate, gate, grad_input=grad_gate)
        return grad_x


class RMSNorm(nn.Module):
    """RMS normalisation over the last dimension, with weights of each member's own.

    Torch's own makes one pass over memory on a GPU, but many on a CPU.
    """

    def __init__(self, num_members: int, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(num_members, dim))

    def forward(self, x: Tensor) -> Tensor:
        """The normalised x, [K, ..., D]."""
        if x.device.type == "cpu":
            return apply(_RMSNorm, x, self.weight)
        normed: Tensor = F.rms_norm(x, (x.shape[-1],))
        return normed * self.weight.view(len(self.weight), *[1] * (x.dim() - 2), -1)


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight_KD: Tensor) -> Tensor:
        rows_KRD, weight_K1D = x.flatten(1, -2), weight_KD.unsqueeze(1)
        square = torch.linalg.vector_norm(rows_KRD, dim=-1, keepdim=True).square_()
        inverse = square.div_(x.shape[-1]).add_(torch.finfo(x.dtype).eps).rsqrt_()
        unit_KRD = rows_KRD * inverse
        ctx.save_for_backward(unit_KRD, inverse, weight_K1D)
        out: Tensor = unit_KRD * weight_K1D
        return out.view_as(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        unit_KRD, inverse, weight_K1D = ctx.saved_tensors
        grad_KRD = grad.flatten(1, -2)
        along = grad_KRD * unit_KRD
        mean = torch.bmm(along, weight_K1D.mT).div_(grad.shape[-1])
        grad_x = (grad_KRD * weight_K1D).addcmul_(unit_KRD, mean, value=-1).mul_(inverse)
        return grad_x.view_as(grad), along.sum(dim=1)


class Dropout(nn.Dropout):
    """Dropout that draws one random byte per value on a CPU, since drawing is most of the work.

    So p is rounded to a multiple of 1/256 there.
    """

    def forward(self, x: Tensor) -> Tensor:
        """x with a share p of its values set to 0, and the others scaled up so that the mean stays."""
        if not (self.training and self.p) or x.device.type != "cpu":
            return super().forward(x)
        num_dropped = min(255, round(256 * self.p))  # of the 256 values of a byte
        words = torch.empty(-(-x.numel() // 8), dtype=torch.int64).random_(-(2**63), None)
        is_kept = (words.view(torch.uint8)[: x.numel()] >= num_dropped).view(x.shape)
        return x * is_kept.to(x.dtype).mul_(256 / (256 - num_dropped))


def table_length(length: int) -> int:
    """The length of the stored table that a history of this length takes a part of: few lengths, so all tables stay."""
    return -(-length // 64) * 64


def apply(function: Any, *arguments: Any) -> Tensor:
    """``function.apply``, which is untyped in torch."""
    out: Tensor = function.apply(*arguments)
    return out
