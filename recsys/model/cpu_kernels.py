"""Parts of a block with the way back written by hand: on a CPU they wait for memory, which autograd passes more often.

Shape suffixes: B users, L places, D embedding_dim, H horizons.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F


def weighted_means(x_BLD: Tensor, weight_HD: Tensor, horizons: tuple[int, ...]) -> Tensor:
    """[B, L, D]: at every place the sum over h of weight_h times the mean of the last ``horizons[h]`` places."""
    place_L = torch.arange(1, x_BLD.shape[1] + 1, device=x_BLD.device)
    count_HL = torch.minimum(place_L, torch.tensor(horizons, device=x_BLD.device).unsqueeze(1))
    return _applied(_WeightedMeans, x_BLD, weight_HD, count_HL, horizons)


class _WeightedMeans(torch.autograd.Function):
    """With c_h = weight_h / count_h and running totals T: T * sum_h c_h - sum_h c_h * (T of h places before)."""

    @staticmethod
    def forward(ctx: Any, x_BLD: Tensor, weight_HD: Tensor, count_HL: Tensor, horizons: tuple[int, ...]) -> Tensor:
        total_BLD, share_HLD = x_BLD.cumsum(dim=1), weight_HD.unsqueeze(1) / count_HL.unsqueeze(2)
        ctx.save_for_backward(total_BLD, share_HLD, count_HL)
        ctx.horizons = horizons
        out_BLD = total_BLD * share_HLD.sum(dim=0)
        for share_LD, horizon in zip(share_HLD, horizons, strict=True):
            out_BLD[:, horizon:].addcmul_(total_BLD[:, :-horizon], share_LD[horizon:], value=-1)
        return out_BLD

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_BLD: Tensor) -> tuple[Tensor | None, ...]:
        total_BLD, share_HLD, count_HL = ctx.saved_tensors
        grad_total_BLD = grad_BLD * share_HLD.sum(dim=0)
        sums_HLD = (grad_BLD * total_BLD).sum(dim=0).repeat(len(count_HL), 1, 1)
        for share_LD, sums_LD, horizon in zip(share_HLD, sums_HLD, ctx.horizons, strict=True):
            later_BLD = grad_BLD[:, horizon:]
            grad_total_BLD[:, :-horizon].addcmul_(later_BLD, share_LD[horizon:], value=-1)
            sums_LD[horizon:] -= (later_BLD * total_BLD[:, :-horizon]).sum(dim=0)
        grad_x_BLD = grad_total_BLD.flip(1).cumsum(dim=1).flip(1)
        return grad_x_BLD, (sums_HLD / count_HL.unsqueeze(2)).sum(dim=1), None, None


def rotate(x: Tensor, rotation_LH: Tensor) -> Tensor:
    """Rotate the two halves of the last dimension by their position's angle, given as cosines, then sines."""
    return _applied(_Rotate, x, rotation_LH)


class _Rotate(torch.autograd.Function):
    """The way back turns by the opposite angle."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, rotation_LH: Tensor) -> Tensor:
        ctx.save_for_backward(rotation_LH)
        return _turned(x, rotation_LH, 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (rotation_LH,) = ctx.saved_tensors
        return _turned(grad, rotation_LH, -1), None


def _turned(x: Tensor, rotation_LH: Tensor, sign: int) -> Tensor:
    out = torch.empty_like(x)
    (first, second), (cos, sin) = x.chunk(2, dim=-1), rotation_LH.chunk(2, dim=-1)
    for into, one, other, way in zip(
        out.chunk(2, dim=-1), (first, second), (second, first), (-sign, sign), strict=True
    ):
        torch.mul(one, cos, out=into).addcmul_(other, sin, value=way)
    return out


def swiglu(x: Tensor) -> Tensor:
    """[..., 2 K] to [..., K]: SiLU of the first half times the second (Shazeer 2020)."""
    return _applied(_SwiGLU, x)


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


class RMSNorm(nn.RMSNorm):
    """Over the last dimension; torch's own has one pass over memory on a GPU, and many on a CPU."""

    def forward(self, x: Tensor) -> Tensor:
        """Of x's shape."""
        if x.device.type != "cpu":
            return super().forward(x)
        return _applied(_RMSNorm, x, self.weight)


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight_D: Tensor) -> Tensor:
        square = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_()
        inverse = square.div_(x.shape[-1]).add_(torch.finfo(x.dtype).eps).rsqrt_()
        unit: Tensor = x * inverse
        ctx.save_for_backward(unit, inverse, weight_D)
        return unit * weight_D

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        unit, inverse, weight_D = ctx.saved_tensors
        along = grad * unit
        mean = (along @ weight_D).div_(grad.shape[-1]).unsqueeze(-1)
        grad_x = (grad * weight_D).addcmul_(unit, mean, value=-1).mul_(inverse)
        return grad_x, along.flatten(0, -2).sum(dim=0)


class Dropout(nn.Dropout):
    """On a CPU a byte decides on each value: drawing is most of the work, and p is rounded to a multiple of 1/256."""

    def forward(self, x: Tensor) -> Tensor:
        """Of x's shape; the kept values are scaled up by what the dropped ones are missed."""
        if not (self.training and self.p) or x.device.type != "cpu":
            return super().forward(x)
        edge = min(255, round(256 * self.p))
        words = torch.empty(-(-x.numel() // 8), dtype=torch.int64).random_(-(2**63), None)
        kept = (words.view(torch.uint8)[: x.numel()] >= edge).view(x.shape)
        return x * kept.to(x.dtype).mul_(256 / (256 - edge))


def _applied(function: Any, *arguments: Any) -> Tensor:
    """``function.apply``, which torch ships untyped."""
    out: Tensor = function.apply(*arguments)
    return out
