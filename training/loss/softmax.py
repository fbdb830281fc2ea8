"""The contrastive loss: sampled softmax over one pool of negatives that all tokens share.

A token is a position in a user's history that predicts an item. Its loss is low if the user's vector has a higher inner
product with the item chosen next (the positive) than with the negatives. training/batches/negatives.py decides where
the negatives come from, and which of them do not count for a token; training/objective.py puts negatives and loss
together and averages over tokens. Vectors have unit length if ``model.similarity`` is cosine.

Memory is O(K (T + N) D): the [K, T, N] logits are computed in chunks of tokens, and again in the backward pass if there
are several chunks. On CUDA devices the sum over the negatives is fused into kernels instead (training/loss/fused.py).

Shape suffixes: K members, T tokens (positives), N negatives in the pool, D embedding_dim, C tokens of a chunk.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from ..batches import Negatives, OwnItems
from .fusable import is_fusable

CHUNK_LOGITS = 1 << 23  # logits held at once: 32 MiB of float32


@dataclass(frozen=True)
class Mask:
    """Which negatives do not count for a token: its own positive and, optionally, the items of its user's history.

    positive_ids: [T] int64, each token's positive as a row of the item table. users: [T] int64, the user of each token
    as a row of ``own_items``.
    """

    positive_ids: Tensor
    users: Tensor | None = None
    own_items: OwnItems | None = None


def sampled_softmax(
    users_KTD: Tensor,
    positives_KTD: Tensor,
    negatives: Negatives,
    mask: Mask,
    *,
    temperature: Tensor | float = 1.0,
    negative_exponent: float = 1.0,
    chunk_logits: int = CHUNK_LOGITS,
) -> Tensor:
    """The loss of each token, by member: -log(exp(s) / (exp(s) + (sum_j exp(s_j - log E_j)) ** a)).

    s and s_j are the inner products of the user with the positive and with negative j, divided by the temperature.
    E_j is how often the pool is expected to hold item j. Its logarithm is subtracted after the division, from
    every negative whatever its source and never from the positive (Bengio & Senecal 2008; Yi et al. 2019), so that the
    sampled gradient converges to the full softmax's as the pool grows.

    Args:
        users_KTD: [K, T, D] float32, the user vector at each token.
        positives_KTD: [K, T, D] float32, the vector of the item chosen next.
        negatives: The pool.
        mask: Which negatives do not count.
        temperature: Divides every inner product; a tensor if it is learned.
        negative_exponent: The exponent ``a``. Above 1, the negatives push harder than the positive pulls (the second
            temperature of the bilateral softmax loss, Wu et al. 2024).
        chunk_logits: How many logits to hold at once, unless they are fused. Changes nothing but memory and speed.

    Returns:
        [K, T] float32. 0 for a token whose negatives are all masked.
    """
    users_KTD = users_KTD / temperature
    positive_KT = (users_KTD * positives_KTD).sum(dim=2)
    if is_fusable(users_KTD, len(negatives.ids)):
        negative_KT = _fused(users_KTD, negatives, mask)
    else:
        negative_KT = _LogSumExp.apply(  # type: ignore[no-untyped-call]  # torch ships it untyped
            users_KTD, negatives.vectors, negatives.log_expected, negatives.ids, mask, chunk_logits
        )
    if negative_exponent != 1.0:
        negative_KT = negative_exponent * negative_KT
    return F.softplus(negative_KT - positive_KT)


def _fused(users_KTD: Tensor, negatives: Negatives, mask: Mask) -> Tensor:
    """As ``_LogSumExp``, with bf16 products."""
    from .fused import OwnBits, fused_log_sum_exp  # needs Triton, which only a GPU's torch brings

    own = None
    if mask.own_items is not None and mask.users is not None:
        own = OwnBits.of(mask.own_items, mask.users, negatives.ids)
    return fused_log_sum_exp(
        users_KTD, negatives.vectors, negatives.log_expected, mask.positive_ids, negatives.ids, own
    )


class _LogSumExp(torch.autograd.Function):
    """log sum_j exp(users @ negatives.T - log_expected) over the unmasked j, [K, T].

    The backward pass recomputes the logits chunk by chunk, unless they all fit into one chunk: then the
    forward pass keeps its weights.
    """

    @staticmethod
    def forward(ctx: Any, users_KTD: Tensor, negatives_KND: Tensor, log_expected_N: Tensor, *rest: Any) -> Tensor:
        ids_N, mask, chunk_logits = rest
        (num_members, num_tokens, _), num_negatives = users_KTD.shape, negatives_KND.shape[1]
        size = max(1, chunk_logits // max(1, num_members * num_negatives))
        ctx.chunks = [slice(start, start + size) for start in range(0, num_tokens if num_negatives else 0, size)]
        ctx.ids_N, ctx.mask = ids_N, mask
        parts = list[Tensor]()
        for chunk in ctx.chunks:
            logits_KCN = _masked_logits(users_KTD, negatives_KND, log_expected_N, ids_N, mask, chunk)
            highest_KC = _finite(logits_KCN.amax(dim=2))
            weights_KCN = logits_KCN.sub_(highest_KC.unsqueeze(2)).exp_()  # in place: new memory is expensive
            total_KC = weights_KCN.sum(dim=2)
            parts.append(total_KC.log() + highest_KC)
        if len(parts) == 1:
            out_KT = parts[0]
        else:
            out_KT = torch.cat(parts, dim=1) if parts else users_KTD.new_full((num_members, num_tokens), -torch.inf)
        # a total is at least 1, for the highest logit weighs exp(0), or 0 if every negative is masked
        ctx.only_chunk = (weights_KCN, total_KC.clamp(min=1)) if len(ctx.chunks) == 1 else None
        ctx.save_for_backward(users_KTD, negatives_KND, log_expected_N, out_KT)
        return out_KT

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_KT: Tensor) -> tuple[Tensor | None, ...]:
        users_KTD, negatives_KND, log_expected_N, out_KT = ctx.saved_tensors
        if ctx.only_chunk is not None:
            weights_KTN, total_KT = ctx.only_chunk
            grad_KT1 = (grad_KT / total_KT).unsqueeze(2)
            grad_users_KTD = torch.mul(weights_KTN @ negatives_KND, grad_KT1, out=torch.empty_like(users_KTD))
            return grad_users_KTD, weights_KTN.mT @ (users_KTD * grad_KT1), *[None] * 4
        grad_users_KTD, grad_negatives_KND = torch.zeros_like(users_KTD), torch.zeros_like(negatives_KND)
        for chunk in ctx.chunks:
            logits_KCN = _masked_logits(users_KTD, negatives_KND, log_expected_N, ctx.ids_N, ctx.mask, chunk)
            weights_KCN = logits_KCN.sub_(_finite(out_KT[:, chunk]).unsqueeze(2)).exp_()
            grad_KC1 = grad_KT[:, chunk].unsqueeze(2)
            grad_users_KTD[:, chunk] = (weights_KCN @ negatives_KND) * grad_KC1
            grad_negatives_KND += weights_KCN.mT @ (users_KTD[:, chunk] * grad_KC1)
        return grad_users_KTD, grad_negatives_KND, *[None] * 4


def _finite(log_sum_T: Tensor) -> Tensor:
    """A number instead of the -inf of a token whose whole pool is masked, so that its weights are 0, and not NaN."""
    return log_sum_T.clamp(min=torch.finfo(log_sum_T.dtype).min)


def _masked_logits(
    users_KTD: Tensor, negatives_KND: Tensor, log_expected_N: Tensor, ids_N: Tensor, mask: Mask, chunk: slice
) -> Tensor:
    """[K, C, N]: -inf where a negative does not count."""
    logits_KCN = users_KTD[:, chunk] @ negatives_KND.mT
    logits_KCN -= log_expected_N
    if ids_N.device.type == "cpu":
        row, column = _accidental_hits(mask.positive_ids[chunk], ids_N)
        logits_KCN[:, row, column] = -torch.inf
    else:  # a GPU would have to wait to know how many there are
        logits_KCN.masked_fill_(mask.positive_ids[chunk].unsqueeze(1) == ids_N, -torch.inf)
    if mask.own_items is not None and mask.users is not None:
        logits_KCN.masked_fill_(mask.own_items.hold(mask.users[chunk], ids_N), -torch.inf)
    return logits_KCN


def _accidental_hits(ids_C: Tensor, pool_N: Tensor) -> tuple[Tensor, Tensor]:
    """Rows and columns where the pool holds a token's positive. They are few, so a binary search finds them."""
    ordered_N, column_N = pool_N.sort(stable=True)
    first_C, end_C = torch.searchsorted(ordered_N, ids_C), torch.searchsorted(ordered_N, ids_C, right=True)
    count_C = end_C - first_C
    row = torch.repeat_interleave(count_C)
    return row, column_N[torch.arange(len(row), device=row.device) + (end_C - count_C.cumsum(0))[row]]
