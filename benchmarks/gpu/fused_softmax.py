"""training.loss.sampled_softmax as Triton kernels: no logit ever leaves the chip, in memory O((T + N) D).

It stays under benchmarks/ until a GPU has shown that it wins (`python -m benchmarks.gpu`).

    lse_t = log sum_j exp(u_t n_j - log E_j)   over the negatives j whose id is not the token's positive
    w_tj  = exp(u_t n_j - log E_j - lse_t)     computed again on the way back, tile by tile
    dU_t  = g_t sum_j w_tj n_j                 with g = d loss / d lse
    dN_j  = sum_t w_tj g_t u_t

The running maximum and sum are those of Milakov & Gimelshein 2018, tiles recomputed on the way back those of
FlashAttention (Dao et al. 2022). The two gradients are one sum with rows and columns exchanged, so one kernel computes
both. Nothing is added atomically: the same input gives the same bits.

Shape suffixes: T tokens, N negatives, D embedding_dim. In the kernels R rows, C columns, and S spans of columns, which
different programs work on so that few rows keep a GPU busy.
"""

# mypy: disable-error-code="import-not-found, no-untyped-def, untyped-decorator"
# Triton has no types, and is not on every machine
from typing import Any, Literal

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

Products = Literal["float32", "tf32", "bf16"]
OPERANDS = {"float32": (torch.float32, "tf32x3"), "tf32": (torch.float32, "tf32"), "bf16": (torch.bfloat16, "ieee")}
ALIGN = 128  # a span is a multiple of every BLOCK_C
PROGRAMS = 512  # started at least, where the columns allow it
BLOCKS = ((64, 64, 4, 2), (128, 64, 4, 3), (128, 128, 8, 2), (128, 64, 8, 2), (64, 32, 4, 2), (32, 32, 4, 1))
CONFIGS = [
    triton.Config({"BLOCK_R": rows, "BLOCK_C": columns}, num_warps=warps, num_stages=stages)
    for rows, columns, warps, stages in BLOCKS
]
# the interpreter has nothing to time; on a GPU what asks for too much shared memory loses
_tuned = triton.autotune(CONFIGS if torch.cuda.is_available() else CONFIGS[:1], key=["num_rows", "num_columns", "D"])


def fused_sampled_softmax(
    users_TD: Tensor,
    positives_TD: Tensor,
    negatives_ND: Tensor,
    positive_ids_T: Tensor,
    negative_ids_N: Tensor,
    log_expected_N: Tensor,
    *,
    temperature: Tensor | float = 1.0,
    negative_exponent: float = 1.0,
    products: Products = "float32",
) -> Tensor:
    """Contrastive loss of each token, [T] float32, as ``sampled_softmax`` defines it; ids are below 2 ** 31.

    products: what the matrix products are made of, with float32 sums in any case. "float32" is three TF32 products,
    nearly as exact as one of float32.
    """
    users_TD = users_TD / temperature
    positive_T = (users_TD * positives_TD).sum(dim=1)
    negative_T: Tensor = _LogSumExp.apply(  # type: ignore[no-untyped-call]  # torch ships it untyped
        users_TD, negatives_ND, log_expected_N, positive_ids_T, negative_ids_N, products
    )
    return F.softplus(negative_exponent * negative_T - positive_T)


class _LogSumExp(torch.autograd.Function):
    """log sum_j exp(users @ negatives.T - log_expected) over unmasked j, [T]."""

    @staticmethod
    def forward(ctx: Any, users_TD: Tensor, negatives_ND: Tensor, log_expected_N: Tensor, *rest: Any) -> Tensor:
        *ids, products = rest
        dtype, ctx.precision = OPERANDS[products]
        ctx.dtypes = users_TD.dtype, negatives_ND.dtype
        users_TD, negatives_ND = (each.detach().to(dtype).contiguous() for each in (users_TD, negatives_ND))
        log_expected_N = log_expected_N.float().contiguous()
        positive_ids_T, negative_ids_N = (each.to(torch.int32).contiguous() for each in ids)
        num_tokens, num_negatives, dim = len(users_TD), len(negatives_ND), users_TD.shape[1]
        num_spans, span = _spans(num_tokens, num_negatives)
        lse_ST = log_expected_N.new_empty(num_spans, num_tokens)
        _log_sum_exp[_grid(num_tokens, num_spans)](
            users_TD, negatives_ND, positive_ids_T, negative_ids_N, log_expected_N, lse_ST, num_tokens, num_negatives,
            span, dim, _padded(dim), ctx.precision,
        )  # fmt: skip
        lse_T = lse_ST.logsumexp(dim=0)
        ctx.save_for_backward(users_TD, negatives_ND, positive_ids_T, negative_ids_N, log_expected_N, lse_T)
        return lse_T

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_T: Tensor) -> tuple[Tensor | None, ...]:
        users_TD, negatives_ND, positive_ids_T, negative_ids_N, log_expected_N, lse_T = ctx.saved_tensors
        grad_T = grad_T.float().contiguous()
        lse_T = lse_T.masked_fill(lse_T == -torch.inf, 0.0)  # a wholly masked pool: exp(-inf - 0) = 0, not NaN
        users = users_TD, positive_ids_T, lse_T
        negatives = negatives_ND, negative_ids_N, log_expected_N
        grad_users_TD = _gradient(users, negatives, torch.ones_like(log_expected_N), ctx.precision)
        grad_negatives_ND = _gradient(negatives, users, grad_T, ctx.precision)
        grad_users_TD *= grad_T.unsqueeze(1)
        return grad_users_TD.to(ctx.dtypes[0]), grad_negatives_ND.to(ctx.dtypes[1]), *[None] * 4


Side = tuple[Tensor, Tensor, Tensor]  # vectors, ids, what is subtracted from their logits


def _gradient(rows: Side, columns: Side, scale_C: Tensor, precision: str) -> Tensor:
    """[R, D] float32: for each row the sum over columns of weight * scale * the column's vector."""
    num_rows, num_columns, dim = len(rows[0]), len(columns[0]), rows[0].shape[1]
    num_spans, span = _spans(num_rows, num_columns)
    out_SRD = scale_C.new_empty(num_spans, num_rows, dim)
    _weighted_sum[_grid(num_rows, num_spans)](
        *rows, *columns, scale_C, out_SRD, num_rows, num_columns, span, dim, _padded(dim), precision
    )
    return out_SRD.sum(dim=0)


def _spans(num_rows: int, num_columns: int) -> tuple[int, int]:
    """How many spans of columns, at least 1, and the length of each."""
    wanted = max(1, PROGRAMS // max(1, triton.cdiv(num_rows, ALIGN)))
    span = max(ALIGN, triton.cdiv(triton.cdiv(num_columns, wanted), ALIGN) * ALIGN)
    return max(1, triton.cdiv(num_columns, span)), span


def _grid(num_rows: int, num_spans: int) -> Any:
    return lambda meta: (triton.cdiv(num_rows, meta["BLOCK_R"]), num_spans)


def _padded(dim: int) -> int:
    return max(16, 1 << (dim - 1).bit_length())  # tensor cores take no less


@triton.jit
def _tile(vectors, row_R, num_rows, D: tl.constexpr, PADDED_D: tl.constexpr):
    """[R, PADDED_D] of a contiguous matrix [num_rows, D]; 0 beyond its edges."""
    column_D = tl.arange(0, PADDED_D)
    inside = (row_R[:, None] < num_rows) & (column_D[None, :] < D)
    return tl.load(vectors + row_R[:, None].to(tl.int64) * D + column_D[None, :], mask=inside, other=0.0)


@triton.jit
def _logits(row_RD, row_id_R, column_CD, column_id_C, offset_C, PRECISION: tl.constexpr):
    """[R, C] float32: inner products less the columns' offsets, -inf where the ids are equal."""
    logits = tl.dot(row_RD, tl.trans(column_CD), input_precision=PRECISION) - offset_C[None, :]
    return tl.where(row_id_R[:, None] == column_id_C[None, :], float("-inf"), logits)


@triton.jit
def _log_sum_exp(
    rows, columns, row_ids, column_ids, column_offsets, out_SR, num_rows, num_columns, span, D: tl.constexpr,
    PADDED_D: tl.constexpr, PRECISION: tl.constexpr, BLOCK_R: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """Of a block of rows, over one span of columns."""
    row_R = tl.program_id(0) * BLOCK_R + tl.arange(0, BLOCK_R)
    first = tl.program_id(1) * span
    row_RD = _tile(rows, row_R, num_rows, D, PADDED_D)
    row_id_R = tl.load(row_ids + row_R, mask=row_R < num_rows, other=-1)
    highest_R = tl.full([BLOCK_R], float("-inf"), tl.float32)
    total_R = tl.zeros([BLOCK_R], tl.float32)
    for start in range(first, tl.minimum(first + span, num_columns), BLOCK_C):
        column_C = start + tl.arange(0, BLOCK_C)
        inside_C = column_C < num_columns
        column_CD = _tile(columns, column_C, num_columns, D, PADDED_D)
        column_id_C = tl.load(column_ids + column_C, mask=inside_C, other=-1)
        offset_C = tl.load(column_offsets + column_C, mask=inside_C, other=float("inf"))
        logits = _logits(row_RD, row_id_R, column_CD, column_id_C, offset_C, PRECISION)
        higher_R = tl.maximum(highest_R, tl.max(logits, axis=1))
        finite_R = tl.where(higher_R == float("-inf"), 0.0, higher_R)
        total_R = total_R * tl.exp(highest_R - finite_R) + tl.sum(tl.exp(logits - finite_R[:, None]), axis=1)
        highest_R = higher_R
    lse_R = highest_R + tl.log(tl.where(total_R > 0, total_R, 1.0))  # -inf where nothing was left
    tl.store(out_SR + tl.program_id(1) * num_rows + row_R, lse_R, mask=row_R < num_rows)


@triton.jit
def _weighted_sum(
    rows, row_ids, row_offsets, columns, column_ids, column_offsets, column_scales, out_SRD, num_rows, num_columns,
    span, D: tl.constexpr, PADDED_D: tl.constexpr, PRECISION: tl.constexpr, BLOCK_R: tl.constexpr,
    BLOCK_C: tl.constexpr,
):  # fmt: skip
    """sum_c exp(row . column - row offset - column offset) * scale * column, over one span of columns."""
    row_R = tl.program_id(0) * BLOCK_R + tl.arange(0, BLOCK_R)
    first = tl.program_id(1) * span
    row_RD = _tile(rows, row_R, num_rows, D, PADDED_D)
    row_id_R = tl.load(row_ids + row_R, mask=row_R < num_rows, other=-1)
    row_offset_R = tl.load(row_offsets + row_R, mask=row_R < num_rows, other=float("inf"))
    sum_RD = tl.zeros([BLOCK_R, PADDED_D], tl.float32)
    for start in range(first, tl.minimum(first + span, num_columns), BLOCK_C):
        column_C = start + tl.arange(0, BLOCK_C)
        inside_C = column_C < num_columns
        column_CD = _tile(columns, column_C, num_columns, D, PADDED_D)
        column_id_C = tl.load(column_ids + column_C, mask=inside_C, other=-1)
        offset_C = tl.load(column_offsets + column_C, mask=inside_C, other=float("inf"))
        scale_C = tl.load(column_scales + column_C, mask=inside_C, other=0.0)
        logits = _logits(row_RD, row_id_R, column_CD, column_id_C, offset_C, PRECISION)
        weights = tl.exp(logits - row_offset_R[:, None]) * scale_C[None, :]
        sum_RD = tl.dot(weights.to(column_CD.dtype), column_CD, sum_RD, input_precision=PRECISION)
    out_RD = out_SRD + (tl.program_id(1) * num_rows + row_R)[:, None].to(tl.int64) * D + tl.arange(0, PADDED_D)[None, :]
    tl.store(out_RD, sum_RD, mask=(row_R[:, None] < num_rows) & (tl.arange(0, PADDED_D)[None, :] < D))


_log_sum_exp, _weighted_sum = _tuned(_log_sum_exp), _tuned(_weighted_sum)
