"""The Triton kernels of the fused loss: what training/loss/fused.py launches, and the blocks it launches them with.

    lse_t  = log sum_j exp(u_t n_j - log E_j)   over the negatives j that count for token t
    w_tj   = exp(u_t n_j - log E_j - lse_t)     never written to memory
    mean_t = sum_j w_tj n_j                     the gradient of lse_t to u_t
    dN_j   = sum_t w_tj g_t u_t                 the gradient to n_j, where g_t is the gradient to lse_t

``forward`` computes lse and mean in one pass. That is attention with users as queries and negatives as both keys and
values: a running maximum, sum and weighted sum (Milakov & Gimelshein 2018; Dao et al. 2022). ``backward`` computes dN
and needs the logits again, so there are four matrix products in all. Nothing is added atomically, and the blocks depend
on nothing but embedding_dim and the architecture, so the same input gives the same bits on every GPU of one kind.

Products have bf16 operands and float32 sums. Logits are in units of log 2, for the GPU computes powers of 2.

Shape suffixes: K members, T tokens, N negatives, D embedding_dim (a power of two from 16), W words of 32 bits, S spans.
A program holds a block of R rows in registers and loops over one span of the columns in blocks of C. The rows of
``forward`` are tokens and its columns negatives; in ``backward`` it is the other way round.
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"
# Triton's language has no types
from dataclasses import dataclass, replace

import triton
import triton.language as tl

LOG2_E = tl.constexpr(1.4426950408889634)


@dataclass(frozen=True)
class Blocks:
    """How a kernel is cut: rows and columns of a block, warps of a program, and stages of its pipeline of loads."""

    rows: int
    columns: int
    warps: int
    stages: int

    @staticmethod
    def of(architecture: int, dim: int, *, mask_own: bool) -> "Blocks":
        """The same for both kernels; narrower for 256 dimensions with own items masked: the mask takes registers."""
        blocks = BLOCKS[architecture, dim]
        return replace(blocks, columns=32) if mask_own and dim == 256 else blocks


# By architecture (the compute capability from which they serve) and D. `python -m benchmarks.gpu.kernels` prints what
# they cost: next to no register is spilled, and those of 80 fit the 99 KiB that the smallest GPU since Ampere has.
BLOCKS = {
    (80, 16): Blocks(64, 64, 4, 3),
    (80, 32): Blocks(64, 64, 4, 3),
    (80, 64): Blocks(64, 64, 4, 3),
    (80, 128): Blocks(64, 64, 4, 2),
    (80, 256): Blocks(64, 64, 4, 2),
    (90, 16): Blocks(64, 64, 4, 3),
    (90, 32): Blocks(64, 64, 4, 3),
    (90, 64): Blocks(64, 64, 4, 3),
    (90, 128): Blocks(128, 64, 8, 3),
    (90, 256): Blocks(128, 64, 8, 2),
}
ALIGN = 128  # a span is a multiple of every kernel's columns, and a row of bits of every kernel's block of negatives
WORDS = 32  # that a program of ``own_bits`` fills
SHAPES = ("num_tokens", "num_negatives", "span", "num_words")  # one compilation for all


@triton.jit
def _tile(matrix, row_R, num_rows, D: tl.constexpr):
    """[R, D] of a contiguous matrix [num_rows, D]; 0 beyond its last row."""
    return tl.load(matrix + row_R[:, None] * D + tl.arange(0, D)[None, :], mask=row_R[:, None] < num_rows, other=0.0)


@triton.jit
def _unless_masked(
    logits, positive_id, negative_id, own_row, negative, own_bits_TW, num_words, MASK_OWN: tl.constexpr
):  # fmt: skip
    """-inf where the negative is the token's positive or, by its bit, among the user's own items."""
    masked = positive_id == negative_id
    if MASK_OWN:
        word = tl.load(own_bits_TW + own_row * num_words + (negative >> 5))
        masked = masked | (((word >> (negative & 31)) & 1) != 0)
    return tl.where(masked, float("-inf"), logits)


@triton.jit(do_not_specialize=SHAPES)
def forward(
    users_KTD, negatives_KND, log_expected_N, positive_ids_T, negative_ids_N, own_rows_T, own_bits_TW, lse_SKT,
    mean_SKTD, num_tokens, num_negatives, span, num_words, D: tl.constexpr, MASK_OWN: tl.constexpr,
    BLOCK_R: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """The log-sum-exp and the weighted mean of the negatives, of a block of tokens over one span of the negatives."""
    member = tl.program_id(2).to(tl.int64)
    part = tl.program_id(1) * tl.num_programs(2) + member
    first = tl.program_id(1) * span
    token_R = tl.program_id(0) * BLOCK_R + tl.arange(0, BLOCK_R)
    inside_R = token_R < num_tokens
    user_RD = _tile(users_KTD + member * num_tokens * D, token_R, num_tokens, D)
    positive_id_R = tl.load(positive_ids_T + token_R, mask=inside_R, other=-1).to(tl.int32)
    own_row_R = token_R
    if MASK_OWN:
        own_row_R = tl.load(own_rows_T + token_R, mask=inside_R, other=0).to(tl.int32)
    negatives_KND += member * num_negatives * D
    highest_R = tl.full([BLOCK_R], float("-inf"), tl.float32)
    total_R = tl.zeros([BLOCK_R], tl.float32)
    sum_RD = tl.zeros([BLOCK_R, D], tl.float32)
    for start in range(first, tl.minimum(first + span, num_negatives), BLOCK_C):
        negative_C = start + tl.arange(0, BLOCK_C)
        inside_C = negative_C < num_negatives
        negative_CD = _tile(negatives_KND, negative_C, num_negatives, D)
        offset_C = tl.load(log_expected_N + negative_C, mask=inside_C, other=float("inf")) * LOG2_E
        negative_id_C = tl.load(negative_ids_N + negative_C, mask=inside_C, other=-1).to(tl.int32)
        logits = tl.dot(user_RD, tl.trans(negative_CD)) * LOG2_E - offset_C[None, :]
        logits = _unless_masked(
            logits, positive_id_R[:, None], negative_id_C[None, :], own_row_R[:, None], negative_C[None, :],
            own_bits_TW, num_words, MASK_OWN,
        )  # fmt: skip
        higher_R = tl.maximum(highest_R, tl.max(logits, axis=1))
        finite_R = tl.where(higher_R == float("-inf"), 0.0, higher_R)  # while all is masked, 2 ** (-inf - 0) = 0
        weights = tl.exp2(logits - finite_R[:, None])
        shrink_R = tl.exp2(highest_R - finite_R)
        total_R = total_R * shrink_R + tl.sum(weights, axis=1)
        sum_RD = tl.dot(weights.to(negative_CD.dtype), negative_CD, sum_RD * shrink_R[:, None])
        highest_R = higher_R
    total_R = tl.where(total_R > 0, total_R, 1.0)
    tl.store(lse_SKT + part * num_tokens + token_R, (highest_R + tl.log2(total_R)) / LOG2_E, mask=inside_R)
    mean_RD = mean_SKTD + part * num_tokens * D + token_R[:, None] * D + tl.arange(0, D)[None, :]
    tl.store(mean_RD, sum_RD / total_R[:, None], mask=inside_R[:, None])


@triton.jit(do_not_specialize=SHAPES)
def backward(
    users_KTD, negatives_KND, log_expected_N, positive_ids_T, negative_ids_N, own_rows_T, own_bits_TW, lse_KT,
    grad_KT, out_SKND, num_tokens, num_negatives, span, num_words, D: tl.constexpr, MASK_OWN: tl.constexpr,
    BLOCK_R: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """The gradient to a block of negatives, over one span of the tokens."""
    member = tl.program_id(2).to(tl.int64)
    first = tl.program_id(1) * span
    negative_R = tl.program_id(0) * BLOCK_R + tl.arange(0, BLOCK_R)
    inside_R = negative_R < num_negatives
    negative_RD = _tile(negatives_KND + member * num_negatives * D, negative_R, num_negatives, D)
    offset_R = tl.load(log_expected_N + negative_R, mask=inside_R, other=float("inf")) * LOG2_E
    negative_id_R = tl.load(negative_ids_N + negative_R, mask=inside_R, other=-1).to(tl.int32)
    users_KTD += member * num_tokens * D
    sum_RD = tl.zeros([BLOCK_R, D], tl.float32)
    for start in range(first, tl.minimum(first + span, num_tokens), BLOCK_C):
        token_C = start + tl.arange(0, BLOCK_C)
        inside_C = token_C < num_tokens
        user_CD = _tile(users_KTD, token_C, num_tokens, D)
        lse_C = tl.load(lse_KT + member * num_tokens + token_C, mask=inside_C, other=float("-inf"))
        lse_C = tl.where(lse_C == float("-inf"), float("inf"), lse_C * LOG2_E)  # if all is masked, 2 ** -inf = 0
        grad_C = tl.load(grad_KT + member * num_tokens + token_C, mask=inside_C, other=0.0)
        positive_id_C = tl.load(positive_ids_T + token_C, mask=inside_C, other=-1).to(tl.int32)
        own_row_C = token_C
        if MASK_OWN:
            own_row_C = tl.load(own_rows_T + token_C, mask=inside_C, other=0).to(tl.int32)
        logits = tl.dot(negative_RD, tl.trans(user_CD)) * LOG2_E - offset_R[:, None]
        logits = _unless_masked(
            logits, positive_id_C[None, :], negative_id_R[:, None], own_row_C[None, :], negative_R[:, None],
            own_bits_TW, num_words, MASK_OWN,
        )  # fmt: skip
        weights = tl.exp2(logits - lse_C[None, :]) * grad_C[None, :]
        sum_RD = tl.dot(weights.to(user_CD.dtype), user_CD, sum_RD)
    part = tl.program_id(1) * tl.num_programs(2) + member
    out_RD = out_SKND + part * num_negatives * D + negative_R[:, None] * D + tl.arange(0, D)[None, :]
    tl.store(out_RD, sum_RD, mask=inside_R[:, None])


@triton.jit(do_not_specialize=SHAPES)
def own_bits(
    users_T, offsets, own_ids, negative_ids_N, own_bits_TW, num_negatives, num_words, BLOCK_W: tl.constexpr
):  # fmt: skip
    """For the first of the adjacent tokens of a user: which negatives are among the user's items, 32 to a word."""
    token = tl.program_id(0)
    user = tl.load(users_T + token)
    if tl.load(users_T + token - 1, mask=token > 0, other=-1) != user:
        first = tl.load(offsets + user)
        num_items = tl.load(offsets + user + 1) - first
        word_W = tl.program_id(1) * BLOCK_W + tl.arange(0, BLOCK_W)
        bit = tl.arange(0, 32)
        negative = word_W[:, None] * 32 + bit[None, :]
        negative_id = tl.load(negative_ids_N + negative, mask=negative < num_negatives, other=-1)
        item = first + tl.zeros([BLOCK_W, 32], tl.int64)  # the first of those that may still be the negative
        rest = num_items
        while rest > 1:  # a binary search, of all negatives at once
            half = rest // 2
            item = tl.where(tl.load(own_ids + item + half) <= negative_id, item + half, item)
            rest -= half
        is_own = (tl.load(own_ids + item, mask=num_items > 0, other=-1) == negative_id) & (negative < num_negatives)
        word = tl.sum(is_own.to(tl.int32) << bit[None, :], axis=1)
        tl.store(own_bits_TW + token.to(tl.int64) * num_words + word_W, word, mask=word_W < num_words)
