"""The loss on a GPU: the log-sum-exp over the negatives as two Triton kernels, so that no logit ever leaves the chip.

It replaces ``_LogSumExp`` of training/loss/softmax.py on CUDA devices, and differs from it by rounding only. Its
formulas are in training/loss/kernels.py.

Precision: vectors arrive in float32, outside autocast, and are rounded to bf16 once, on the way in; both passes see
the same rounded vectors. Products of those are exact in float32, where they are summed. Rounding changes a number by at
most 2 ** -9 of itself, so a logit by at most about 2 ** -8 of the product of its two vectors' lengths. In practice the
errors of the dimensions mostly cancel: with 64 dimensions and logits up to 20, the root of the mean squared error is
.006. The weights in the gradients are rounded likewise. Loss, positive and temperature are float32 throughout.

Memory is O(K (T + N) D), and one bit for each token and negative if the items of users' histories are masked.

Shape suffixes: K members, T tokens, N negatives, D embedding_dim (P padded to what the kernels take), W words of 32
bits, S spans: parts of a sum that different programs compute, so that few rows keep a GPU busy.
"""

from typing import Any, NamedTuple

import torch
import triton
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from ..batches import OwnItems
from . import kernels

PROGRAMS = 264  # started at least, if there are columns enough: two for each multiprocessor of an H100


class OwnBits(NamedTuple):
    """Which negatives are among the own items of each token's user, one bit each.

    rows: [T] int64, the row of ``bits`` for each token; other rows are not filled. bits: [T, W] int32; negative j is
    bit j % 32 of word j // 32.
    """

    rows: Tensor
    bits: Tensor

    @staticmethod
    def of(own_items: OwnItems, users_T: Tensor, ids_N: Tensor) -> "OwnBits":
        """Look every pair of a user and a negative up in the user's sorted items, without waiting for the device.

        Args:
            own_items: The items of every user's history.
            users_T: [T] int64, rows of ``own_items``. A row of bits is filled wherever the user differs from the one
                before, so this is fast if the tokens of a user stand together.
            ids_N: [N] int64, the negatives.
        """
        tokens_T = torch.arange(len(users_T), device=users_T.device)
        is_same_T = F.pad(users_T[1:] == users_T[:-1], (1, 0))
        rows_T = tokens_T.masked_fill(is_same_T, 0).cummax(dim=0).values
        num_words = triton.cdiv(len(ids_N), kernels.ALIGN) * (kernels.ALIGN // 32)
        bits_TW = torch.empty(len(users_T), num_words, dtype=torch.int32, device=users_T.device)
        with torch.cuda.device_of(bits_TW):  # type: ignore[no-untyped-call]  # torch ships it untyped
            kernels.own_bits[len(users_T), triton.cdiv(num_words, kernels.WORDS)](
                users_T, own_items.offsets, own_items.ids, ids_N, bits_TW, len(ids_N), num_words, BLOCK_W=kernels.WORDS
            )
        return OwnBits(rows_T, bits_TW)


def fused_log_sum_exp(
    users_KTD: Tensor,
    negatives_KND: Tensor,
    log_expected_N: Tensor,
    positive_ids_T: Tensor,
    negative_ids_N: Tensor,
    own: OwnBits | None = None,
) -> Tensor:
    """log sum_j exp(users @ negatives.T - log_expected) over the negatives that count for a token.

    Args:
        users_KTD: [K, T, D] float32, divided by the temperature; ``is_fusable`` must hold for them.
        negatives_KND: [K, N, D] float32.
        log_expected_N: [N] float32.
        positive_ids_T: [T] int64, 0 to 2 ** 31 - 1. A negative with the id of a token does not count for it.
        negative_ids_N: [N] int64, 0 to 2 ** 31 - 1.
        own: The items of users' histories, if they do not count either.

    Returns:
        [K, T] float32, -inf where no negative counts.
    """
    out: Tensor = _LogSumExp.apply(  # type: ignore[no-untyped-call]  # torch ships it untyped
        users_KTD, negatives_KND, log_expected_N, positive_ids_T, negative_ids_N, own
    )
    return out


_Inputs = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]  # of both kernels, in their order


class _LogSumExp(torch.autograd.Function):
    """The forward pass keeps the gradient to the users, and the backward pass computes that to the negatives."""

    @staticmethod
    def forward(ctx: Any, users_KTD: Tensor, negatives_KND: Tensor, *rest: Any) -> Tensor:
        *of_columns, own = rest
        ctx.dim, ctx.own = users_KTD.shape[2], own
        users_KTP, negatives_KNP = _operand(users_KTD), _operand(negatives_KND)
        inputs = (users_KTP, negatives_KNP, *(value.contiguous() for value in of_columns))
        launch = _Launch.of(users_KTP, negatives_KNP.shape[1], own)
        lse_SKT = users_KTD.new_empty(launch.num_spans, *users_KTP.shape[:2])
        mean_SKTP = users_KTD.new_empty(launch.num_spans, *users_KTP.shape)
        launch.run(kernels.forward, inputs, lse_SKT, mean_SKTP)
        lse_KT = lse_SKT.logsumexp(dim=0)
        share_SKT = (lse_SKT - lse_KT.masked_fill(lse_KT == -torch.inf, 0.0)).exp()
        mean_KTP = (mean_SKTP * share_SKT.unsqueeze(3)).sum(dim=0)
        ctx.save_for_backward(*inputs, lse_KT, mean_KTP)
        return lse_KT

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_KT: Tensor) -> tuple[Tensor | None, ...]:
        *inputs, lse_KT, mean_KTP = ctx.saved_tensors
        users_KTP, negatives_KNP = inputs[:2]
        launch = _Launch.of(negatives_KNP, users_KTP.shape[1], ctx.own)
        grad_SKNP = lse_KT.new_empty(launch.num_spans, *negatives_KNP.shape)
        launch.run(kernels.backward, inputs, lse_KT, grad_KT.contiguous(), grad_SKNP)
        grad_users_KTP = mean_KTP * grad_KT.unsqueeze(2)
        return grad_users_KTP[..., : ctx.dim], grad_SKNP.sum(dim=0)[..., : ctx.dim], *[None] * 4


def _operand(vectors: Tensor) -> Tensor:
    """Rounded to bf16, contiguous, and padded with zeros to the next dimension that the kernels take."""
    dim = vectors.shape[2]
    padded = max(16, 1 << (dim - 1).bit_length())
    if padded > dim:
        vectors = F.pad(vectors, (0, padded - dim))
    return vectors.to(torch.bfloat16, memory_format=torch.contiguous_format)


class _Launch(NamedTuple):
    """How a kernel starts. It depends on shapes and the kind of GPU alone, so the same input gives the same bits."""

    blocks: kernels.Blocks
    grid: tuple[int, int, int]
    span: int
    own: OwnBits | None

    @property
    def num_spans(self) -> int:
        """Partial results, to be added."""
        return self.grid[1]

    @staticmethod
    def of(rows_KRP: Tensor, num_columns: int, own: OwnBits | None) -> "_Launch":
        """With so many spans of columns that at least ``PROGRAMS`` programs start, if there are columns enough."""
        num_members, num_rows, dim = rows_KRP.shape
        blocks = kernels.Blocks.of(_architecture(rows_KRP.device), dim, mask_own=own is not None)
        row_blocks = triton.cdiv(num_rows, blocks.rows)
        wanted = triton.cdiv(PROGRAMS, max(1, row_blocks * num_members))
        span = max(1, num_columns // (wanted * kernels.ALIGN)) * kernels.ALIGN
        return _Launch(blocks, (row_blocks, max(1, triton.cdiv(num_columns, span)), num_members), span, own)

    def run(self, kernel: Any, inputs: _Inputs, *rest: Tensor) -> None:
        """Start a kernel on the GPU that holds the inputs."""
        users_KTP, negatives_KNP, *_ = inputs
        rows_T, bits_TW = self.own or (None, None)
        num_words = 0 if bits_TW is None else bits_TW.shape[1]
        with torch.cuda.device_of(users_KTP):  # type: ignore[no-untyped-call]  # torch ships it untyped
            kernel[self.grid](
                *inputs, rows_T, bits_TW, *rest, users_KTP.shape[1], negatives_KNP.shape[1], self.span, num_words,
                D=users_KTP.shape[2], MASK_OWN=self.own is not None,
                BLOCK_R=self.blocks.rows, BLOCK_C=self.blocks.columns,
                num_warps=self.blocks.warps, num_stages=self.blocks.stages,
            )  # fmt: skip


def _architecture(device: torch.device) -> int:
    """The key of ``kernels.BLOCKS``: 90 on Hopper, else 80, whose blocks fit every GPU from Ampere on."""
    return 90 if device.type == "cuda" and torch.cuda.get_device_capability(device)[0] == 9 else 80
