"""Layers whose implementation depends on the device, which is looked at here and nowhere else in the model.

A CPU is memory-bound, and autograd makes extra passes over memory: there, layers have hand-written backward passes. On
any other device every operation has to be launched, so layers are made of few and large ones.

Shape suffixes: K members, B users, L history length, D embedding_dim, H horizons, S = L * H, R rows,
I inputs, O outputs.
"""

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F


def member_linear(x: Tensor, weight_KOI: Tensor, bias_KO: Tensor) -> Tensor:
    """One affine map per member, [K, ..., I] to [K, ..., O]."""
    x_KRI = x.flatten(1, -2)
    if x.device.type == "cpu":
        out_KRO = torch.baddbmm(bias_KO.unsqueeze(1), x_KRI, weight_KOI.mT)
    else:
        out_KRO = _apply(_MemberLinear, x_KRI, weight_KOI, bias_KO)
    return out_KRO.view(*x.shape[:-1], -1)


class _MemberLinear(torch.autograd.Function):
    """Gives the weights' gradient the layout of the weights, where autograd would make a transposed one and copy it."""

    @staticmethod
    def forward(ctx: Any, x_KRI: Tensor, weight_KOI: Tensor, bias_KO: Tensor) -> Tensor:
        if torch.is_autocast_enabled(x_KRI.device.type):  # as autocast would: what is saved must be of one dtype
            dtype = torch.get_autocast_dtype(x_KRI.device.type)
            x_KRI, weight_KOI, bias_KO = x_KRI.to(dtype), weight_KOI.to(dtype), bias_KO.to(dtype)
        ctx.save_for_backward(x_KRI, weight_KOI)
        return torch.baddbmm(bias_KO.unsqueeze(1), x_KRI, weight_KOI.mT)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_KRO: Tensor) -> tuple[Tensor, ...]:
        x_KRI, weight_KOI = ctx.saved_tensors
        return grad_KRO @ weight_KOI, grad_KRO.mT @ x_KRI, grad_KRO.sum(dim=1)


def add_gated(x: Tensor, gate: Tensor, change: Tensor) -> Tensor:
    """x plus a share of a change, the sigmoid of the gate."""
    if x.device.type == "cpu":
        return x + torch.sigmoid(gate) * change
    return torch.addcmul(x, torch.sigmoid(gate), change)


def weighted_means(
    x_KBLD: Tensor, weight_KHD: Tensor, horizons: tuple[int, ...], last_B: Tensor | None = None
) -> Tensor:
    """For every event of a history, a weighted sum of running means of the events up to it, [K, B, L, D].

    Args:
        x_KBLD: one vector per event.
        weight_KHD: the weight of each mean, channel by channel.
        horizons: how many events, ending with the current one, each mean covers. One more covers them all.
        last_B: index of each history's last event, to return it for that event only, [K, B, 1, D].
    """
    length = x_KBLD.shape[2]
    if x_KBLD.device.type == "cpu":
        horizons = (*horizons, length)
        if last_B is not None:
            return _last_weighted_means(x_KBLD, weight_KHD, torch.tensor(horizons), last_B)
        return _apply(_WeightedMeans, x_KBLD, weight_KHD, _counts(horizons, length), horizons)
    weighted_KBSD = (x_KBLD.unsqueeze(3) * weight_KHD[:, None, None]).flatten(2, 3)
    # a product with this matrix, since a GPU cannot add up running totals in a fixed order
    matrix_LS = _mean_matrix(horizons, _rounded(length), x_KBLD.dtype, x_KBLD.device)
    matrix_LS = matrix_LS[:length, : weighted_KBSD.shape[2]]
    return (matrix_LS if last_B is None else matrix_LS[last_B].unsqueeze(1)) @ weighted_KBSD


def _last_weighted_means(x_KBLD: Tensor, weight_KHD: Tensor, horizon_H: Tensor, last_B: Tensor) -> Tensor:
    end_B1 = last_B.unsqueeze(1) + 1
    total_KBLD = F.pad(x_KBLD.cumsum(dim=2), (0, 0, 1, 0))
    rows_B1 = torch.arange(len(last_B)).unsqueeze(1)
    sums_KBHD = total_KBLD[:, rows_B1, end_B1] - total_KBLD[:, rows_B1, (end_B1 - horizon_H).clamp(min=0)]
    means_KBHD = sums_KBHD / torch.minimum(end_B1, horizon_H).unsqueeze(-1)
    return (means_KBHD * weight_KHD.unsqueeze(1)).sum(dim=2, keepdim=True)


def _counts(horizons: tuple[int, ...], length: int) -> Tensor:
    """How many events each mean covers, [H, L]: those of the horizon, or all up to the current one."""
    return torch.minimum(torch.arange(1, length + 1), torch.tensor(horizons).unsqueeze(1))


@lru_cache(maxsize=64)
def _mean_matrix(horizons: tuple[int, ...], length: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """[L, L * H]: times every event's vector for every mean, [L * H, D], it is the sum of the running means.

    A shorter history needs its upper left part.
    """
    horizons = (*horizons, length)
    distance_LL = torch.arange(length).unsqueeze(1) - torch.arange(length)
    covered_LLH = (distance_LL >= 0).unsqueeze(2) & (distance_LL.unsqueeze(2) < torch.tensor(horizons))
    share_LLH = covered_LLH / _counts(horizons, length).T.unsqueeze(1)
    return share_LLH.flatten(1).to(device, dtype)


def _rounded(length: int) -> int:
    """The length of the stored table from which a history of this length takes a part: tables are few, so all stay."""
    return -(-length // 64) * 64


class _WeightedMeans(torch.autograd.Function):
    """T_l * sum_h c_hl - sum_h c_hl * T_(l - h), with running totals T and c_hl = weight_h / count_hl."""

    @staticmethod
    def forward(ctx: Any, x_KBLD: Tensor, weight_KHD: Tensor, count_HL: Tensor, horizons: tuple[int, ...]) -> Tensor:
        total_KBLD = x_KBLD.cumsum(dim=2)
        share_HK1LD = (weight_KHD.unsqueeze(2) / count_HL.unsqueeze(2)).transpose(0, 1).unsqueeze(2)
        ctx.save_for_backward(total_KBLD, share_HK1LD, count_HL)
        ctx.horizons = horizons
        out_KBLD = total_KBLD * share_HK1LD.sum(dim=0)
        for share_K1LD, horizon in zip(share_HK1LD, horizons, strict=True):
            out_KBLD[:, :, horizon:].addcmul_(total_KBLD[:, :, :-horizon], share_K1LD[:, :, horizon:], value=-1)
        return out_KBLD

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_KBLD: Tensor) -> tuple[Tensor | None, ...]:
        total_KBLD, share_HK1LD, count_HL = ctx.saved_tensors
        grad_total_KBLD = grad_KBLD * share_HK1LD.sum(dim=0)
        sums_KHLD = (grad_KBLD * total_KBLD).sum(dim=1).unsqueeze(1).repeat(1, len(count_HL), 1, 1)
        for number, (share_K1LD, horizon) in enumerate(zip(share_HK1LD, ctx.horizons, strict=True)):
            later_KBLD, earlier_KBLD = grad_KBLD[:, :, horizon:], total_KBLD[:, :, :-horizon]
            grad_total_KBLD[:, :, :-horizon].addcmul_(later_KBLD, share_K1LD[:, :, horizon:], value=-1)
            sums_KHLD[:, number, horizon:] -= (later_KBLD * earlier_KBLD).sum(dim=1)
        grad_x_KBLD = grad_total_KBLD.flip(2).cumsum(dim=2).flip(2)
        return grad_x_KBLD, (sums_KHLD / count_HL.unsqueeze(2)).sum(dim=2), None, None


def rotation(length: int, head_dim: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Rotary position embeddings for ``rotate``, one row per position (RoPE, Su et al. 2021)."""
    return _rotation(_rounded(length), head_dim, dtype, device)[:length]


@lru_cache(maxsize=64)
def _rotation(length: int, head_dim: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Cosines, then sines: of each pair of channels on a CPU, else of each channel, with the sine's sign."""
    half = head_dim // 2
    frequency = 10_000.0 ** (-torch.arange(half, dtype=torch.float64) / half)
    angle = torch.arange(length, dtype=torch.float64).unsqueeze(1) * frequency
    cos, sin = angle.cos(), angle.sin()
    return torch.cat([cos, sin] if device.type == "cpu" else [cos, cos, -sin, sin], dim=-1).to(device, dtype)


def rotate(x: Tensor, rotation_LH: Tensor) -> Tensor:
    """Rotate pairs of channels, one from each half of the last dimension, by angles that grow along the history.

    rotation_LH: as ``rotation`` returns it.
    """
    return _apply(_Rotate if x.device.type == "cpu" else _RotateRolled, x, rotation_LH)


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
        return _apply(_SwiGLU, x)
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
            return _apply(_RMSNorm, x, self.weight)
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


def _apply(function: Any, *arguments: Any) -> Tensor:
    """``function.apply``, which is untyped in torch."""
    out: Tensor = function.apply(*arguments)
    return out
