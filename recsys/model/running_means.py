"""Weighted sums of running means, computed as suits the device (see kernels.py).

Shape suffixes: K members, B users, L history length, D embedding_dim, H horizons, S = L * H.
"""

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from .kernels import apply, table_length


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
        return apply(_WeightedMeans, x_KBLD, weight_KHD, _counts(horizons, length), horizons)
    # a product with this matrix, since a GPU cannot add up running totals in a fixed order
    matrix_SL = _mean_matrix(horizons, table_length(length), x_KBLD.dtype, x_KBLD.device)
    matrix_SL = matrix_SL[: length * (len(horizons) + 1), :length]
    if last_B is not None:
        matrix_SL = matrix_SL.view(length, -1, length)[last_B]
    means_KBLHD = (matrix_SL @ x_KBLD).view(*x_KBLD.shape[:2], -1, *weight_KHD.shape[1:])
    return (means_KBLHD * weight_KHD[:, None, None]).sum(dim=3)


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
    """[L * H, L]: from the events of a history to every mean at every event. A shorter history needs a part of it."""
    horizons = (*horizons, length)
    distance_LL = torch.arange(length).unsqueeze(1) - torch.arange(length)
    covered_LHL = (distance_LL >= 0).unsqueeze(1) & (distance_LL.unsqueeze(1) < torch.tensor(horizons).unsqueeze(1))
    share_LHL = covered_LHL.double() / _counts(horizons, length).T.unsqueeze(2)
    return share_LHL.flatten(0, 1).to(device, dtype)


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
