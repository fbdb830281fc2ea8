"""Sampled softmax with one shared pool of negatives, in memory O((T + N) D).

Shape suffixes: T tokens (positives), N negatives in the pool, D embedding_dim.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from recsys.data import Jagged

CHUNK_LOGITS = 1 << 23  # logits held at once: 32 MiB of float32


def sampled_softmax(
    users_TD: Tensor,
    positives_TD: Tensor,
    negatives_ND: Tensor,
    positive_ids_T: Tensor,
    negative_ids_N: Tensor,
    log_expected_N: Tensor,
    *,
    temperature: Tensor | float = 1.0,
    negative_exponent: float = 1.0,
    own_T: Tensor | None = None,
    own_items: tuple[Tensor, Tensor] | None = None,
    chunk_logits: int = CHUNK_LOGITS,
) -> Tensor:
    """Contrastive loss of each token, [T] float32: -log(exp(s+) / (exp(s+) + (sum_j exp(s_j - log E_j)) ** a)).

    s = inner product / temperature. E_j, given as log_expected_N, is how often the pool is expected to hold item j:
    N * q_j for drawn negatives, T * p_j more where the batch's positives join the pool; the positive's logit stays
    plain (Bengio & Senecal 2008; Yi et al. 2019). A negative equal to the positive is an accidental hit and is masked.
    a = negative_exponent: above 1 the negatives push harder than the positive pulls (the second temperature of the
    bilateral softmax loss, Wu et al. 2024).

    own_T: [T] int64 the user of each token, and own_items: ([U + 1] offsets, values sorted within a row) the ids that
    are masked for that user. Computed in chunks of tokens; nothing of shape [T, N] outlives one.
    """
    users_TD = users_TD / temperature
    positive_T = (users_TD * positives_TD).sum(dim=1)
    negative_T: Tensor = _LogSumExp.apply(  # type: ignore[no-untyped-call]  # torch ships it untyped
        users_TD, negatives_ND, log_expected_N, positive_ids_T, negative_ids_N, own_T, own_items, chunk_logits
    )
    return F.softplus(negative_exponent * negative_T - positive_T)


class _LogSumExp(torch.autograd.Function):
    """log sum_j exp(users @ negatives.T - log_expected) over unmasked j, [T]; recomputed by chunks on the way back."""

    @staticmethod
    def forward(ctx: Any, users_TD: Tensor, negatives_ND: Tensor, log_expected_N: Tensor, *rest: Any) -> Tensor:
        positive_ids_T, negative_ids_N, own_T, own_items, chunk_logits = rest
        size = max(1, chunk_logits // max(1, len(negatives_ND)))
        ctx.chunks = [slice(start, start + size) for start in range(0, len(users_TD) if len(negatives_ND) else 0, size)]
        ctx.mask = positive_ids_T, negative_ids_N, own_T, own_items
        out_T = users_TD.new_full((len(users_TD),), -torch.inf)
        for rows in ctx.chunks:
            logits = _masked_logits(users_TD, negatives_ND, log_expected_N, ctx.mask, rows)
            most_T = _finite(logits.amax(dim=1))
            weights = logits.sub_(most_T.unsqueeze(1)).exp_()  # in place: fresh memory costs more than arithmetic
            total_T = weights.sum(dim=1)
            out_T[rows] = total_T.log() + most_T
        ctx.kept = (weights, total_T.clamp(min=1)) if len(ctx.chunks) == 1 else None  # 0 only where all is masked
        ctx.save_for_backward(users_TD, negatives_ND, log_expected_N, out_T)
        return out_T

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_T: Tensor) -> tuple[Tensor | None, ...]:
        users_TD, negatives_ND, log_expected_N, out_T = ctx.saved_tensors
        grad_users_TD, grad_negatives_ND = torch.zeros_like(users_TD), torch.zeros_like(negatives_ND)
        for rows in ctx.chunks:
            if ctx.kept is None:
                logits = _masked_logits(users_TD, negatives_ND, log_expected_N, ctx.mask, rows)
                weights, grad_T1 = logits.sub_(_finite(out_T[rows]).unsqueeze(1)).exp_(), grad_T[rows].unsqueeze(1)
            else:
                weights, grad_T1 = ctx.kept[0], (grad_T / ctx.kept[1]).unsqueeze(1)
            grad_users_TD[rows] = (weights @ negatives_ND) * grad_T1
            grad_negatives_ND += weights.T @ (users_TD[rows] * grad_T1)
        return grad_users_TD, grad_negatives_ND, *[None] * 6


def _finite(lse_T: Tensor) -> Tensor:
    """A token whose whole pool is masked has -inf; its weights are then exp(-inf - 0) = 0, not NaN."""
    return lse_T.masked_fill(lse_T == -torch.inf, 0.0)


def _masked_logits(users_TD: Tensor, negatives_ND: Tensor, log_expected_N: Tensor, mask: Any, rows: slice) -> Tensor:
    positive_ids_T, negative_ids_N, own_T, own_items = mask
    logits = users_TD[rows] @ negatives_ND.T
    logits -= log_expected_N
    logits[_hits(positive_ids_T[rows], negative_ids_N)] = -torch.inf
    if own_items is not None:
        logits.masked_fill_(_owned(own_T[rows], negative_ids_N, *own_items), -torch.inf)
    return logits


def _hits(ids_C: Tensor, pool_N: Tensor) -> tuple[Tensor, Tensor]:
    """Rows and columns where an id is in the pool: few, so they are looked up and not compared with all."""
    ordered_N, column_N = pool_N.sort(stable=True)
    first_C, end_C = torch.searchsorted(ordered_N, ids_C), torch.searchsorted(ordered_N, ids_C, right=True)
    count_C = end_C - first_C
    row = torch.repeat_interleave(count_C)
    return row, column_N[torch.arange(len(row), device=row.device) + (end_C - count_C.cumsum(0))[row]]


def _owned(users_C: Tensor, ids_N: Tensor, offsets: Tensor, values: Tensor) -> Tensor:
    """[C, N] bool: whether the id is among the user's own. One key a pair (user, id), looked up in the sorted keys.

    Only the rows of the chunk's distinct users are read, and each is looked up once, not once a token.
    """
    users_U, user_of_C = torch.unique(users_C, return_inverse=True)
    starts_U, lengths_U = offsets[users_U], offsets[users_U + 1] - offsets[users_U]
    shift_U = starts_U - lengths_U.cumsum(0) + lengths_U
    owner = torch.repeat_interleave(torch.arange(len(users_U), device=values.device), lengths_U)
    own = values[shift_U[owner] + torch.arange(len(owner), device=values.device)]
    if not len(own):
        return torch.zeros(len(users_C), len(ids_N), dtype=torch.bool, device=values.device)
    stride = torch.maximum(own.max(), ids_N.max()) + 1
    keys = owner * stride + own
    wanted_UN = torch.arange(len(users_U), device=values.device).unsqueeze(1) * stride + ids_N
    place_UN = torch.searchsorted(keys, wanted_UN).clamp_(max=len(keys) - 1)
    return (keys[place_UN] == wanted_UN)[user_of_C]


def sorted_rows(histories: Jagged) -> tuple[Tensor, Tensor]:
    """Offsets and values, sorted within each row: the form of ``own_items``."""
    order = torch.from_numpy(histories.row_of_value) * (1 << 32) + torch.from_numpy(histories.values).long()
    return torch.from_numpy(histories.offsets), (order.sort().values & 0xFFFFFFFF)
