"""Sampled softmax forward and backward: eager, compiled, and training.loss in chunks and fused.

Legend: T tokens (B in the table), N negatives, D dimensions, C tokens of a chunk.
"""

import math
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.gpu import rows
from benchmarks.gpu.rows import Row, apart, need

WARM, REPETITIONS, SECONDS = 5, 20, 2.0  # timed so many times, unless that takes longer
SIZES = [(size, dim) for size in (8_192, 65_536) for dim in (64, 128, 256)]
Loss = Callable[..., Tensor]
FUSED, CHUNKED = "fused, training.loss", "chunked, training.loss"
LOSSES = [
    (FUSED, "bf16"),
    *((CHUNKED, products) for products in ("float32", "tf32")),  # its operands are float32 by contract
    *((way, products) for way in ("eager", "torch.compile of eager") for products in ("float32", "tf32", "bf16")),
]
CHUNK = 1024  # tokens whose float64 logits are held at once
ERROR_LIMITS = {"float32": 1e-4, "tf32": 1e-2, "bf16": 1e-1}


def losses() -> Iterator[Row]:
    yield Row("loss", "8192 x 8192 x 8192", "bf16 product", apart(measure_gemm, ())[0])
    for way, products in LOSSES:
        results = apart(measure_loss, *((way, products, size, dim) for size, dim in SIZES))
        for (size, dim), result in zip(SIZES, results, strict=True):
            yield Row("loss", f"B = N = {size:,}, d = {dim}", f"{way}, {products}", result)


def measure_gemm() -> str:
    return f"{gemm_rate() / 1e12:.0f} TFLOP/s"


def gemm_rate() -> float:
    """Operations a second."""
    left, right = (torch.randn(8192, 8192, device=rows.DEVICE, dtype=torch.bfloat16) for _ in range(2))
    return 2 * 8192**3 / (milliseconds(lambda: left @ right) / 1e3)


def measure_loss(way: str, products: str, size: int, dim: int) -> str:
    torch.set_float32_matmul_precision("high" if products == "tf32" else "highest")
    gemm = gemm_rate()
    loss_of, inputs = loss_function(way, products), draw(size, size, dim)
    leaves = inputs[:3]

    def step() -> tuple[Tensor, ...]:
        return torch.autograd.grad(loss_of(*inputs).mean(), leaves)

    error = gradient_error(step(), exact_gradients(*inputs))
    taken = milliseconds(step)
    held = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    step()
    peak = (torch.cuda.max_memory_allocated() - held) / 2**20
    share = 3 * 2 * size * size * dim / (taken / 1e3) / gemm
    found = f"{taken:.2f} ms, {peak:,.0f} MiB, {share:.0%} of GEMM, gradient error {error:.0e}"
    return found if error <= ERROR_LIMITS[products] else f"failed: wrong gradients: {found}"


def loss_function(way: str, products: Any) -> Loss:
    """A function of users [T, D], positives [T, D], negatives [N, D], their ids and log_expected [N] to [T]."""
    if way == FUSED:
        need("triton")
        return our_sampled_softmax
    if way == CHUNKED:
        return patch("training.loss.softmax.is_fusable", lambda *_: False)(our_sampled_softmax)
    eager = partial(eager_sampled_softmax, bf16=products == "bf16")
    return torch.compile(eager, dynamic=False) if way == "torch.compile of eager" else eager


def our_sampled_softmax(
    users_TD: Tensor,
    positives_TD: Tensor,
    negatives_ND: Tensor,
    positive_ids_T: Tensor,
    negative_ids_N: Tensor,
    log_expected_N: Tensor,
    **settings: Any,
) -> Tensor:
    """``training.loss.sampled_softmax`` with the arguments of the others."""
    from training.batches.negatives import Negatives
    from training.loss import Mask, sampled_softmax

    negatives = Negatives(negative_ids_N, negatives_ND[None], log_expected_N)
    return sampled_softmax(users_TD[None], positives_TD[None], negatives, Mask(positive_ids_T), **settings)[0]


def eager_sampled_softmax(
    users_TD: Tensor,
    positives_TD: Tensor,
    negatives_ND: Tensor,
    positive_ids_T: Tensor,
    negative_ids_N: Tensor,
    log_expected_N: Tensor,
    *,
    bf16: bool = False,
) -> Tensor:
    """As ``training.loss.sampled_softmax``, with all logits in memory."""
    with torch.autocast(users_TD.device.type, torch.bfloat16, enabled=bf16):
        logits_TN = users_TD @ negatives_ND.T
    logits_TN = logits_TN.float() - log_expected_N
    logits_TN = logits_TN.masked_fill(positive_ids_T[:, None] == negative_ids_N, -torch.inf)
    return F.softplus(logits_TN.logsumexp(dim=1) - (users_TD * positives_TD).sum(dim=1))


def draw(num_tokens: int, num_negatives: int, dim: int) -> tuple[Tensor, ...]:
    """Inputs of a loss: logits of standard deviation 3, accidental hits among 20,000 items."""
    torch.manual_seed(0)
    scale = math.sqrt(3) / dim**0.25
    leaves = [
        (scale * torch.randn(count, dim, device=rows.DEVICE)).requires_grad_()
        for count in (num_tokens, num_tokens, num_negatives)
    ]
    ids = [torch.randint(1, 20_001, (count,), device=rows.DEVICE) for count in (num_tokens, num_negatives)]
    return *leaves, *ids, torch.randn(num_negatives, device=rows.DEVICE)


@torch.no_grad()
def exact_gradients(
    users_TD: Tensor,
    positives_TD: Tensor,
    negatives_ND: Tensor,
    positive_ids_T: Tensor,
    negative_ids_N: Tensor,
    log_expected_N: Tensor,
) -> tuple[Tensor, ...]:
    """Of the mean loss, by formula, in float64: with p_t = sigmoid(lse_t - s+_t), d loss_t / d lse_t = p_t.

    A token whose whole pool is masked has no gradient.
    """
    users_TD, positives_TD, negatives_ND = (each.double() for each in (users_TD, positives_TD, negatives_ND))
    grad_users_TD, grad_positives_TD = torch.empty_like(users_TD), torch.empty_like(positives_TD)
    grad_negatives_ND = torch.zeros_like(negatives_ND)
    for start in range(0, len(users_TD), CHUNK):
        part = slice(start, start + CHUNK)
        user_CD, positive_CD = users_TD[part], positives_TD[part]
        logits_CN = user_CD @ negatives_ND.T - log_expected_N.double()
        logits_CN[positive_ids_T[part, None] == negative_ids_N] = -torch.inf
        pull_C = torch.sigmoid(logits_CN.logsumexp(dim=1) - (user_CD * positive_CD).sum(dim=1)) / len(users_TD)
        weights_CN = logits_CN.softmax(dim=1).nan_to_num_(0.0) * pull_C[:, None]
        grad_users_TD[part] = weights_CN @ negatives_ND - pull_C[:, None] * positive_CD
        grad_positives_TD[part] = -pull_C[:, None] * user_CD
        grad_negatives_ND += weights_CN.T @ user_CD
    return grad_users_TD, grad_positives_TD, grad_negatives_ND


def gradient_error(found: tuple[Tensor, ...], exact: tuple[Tensor, ...]) -> float:
    return max(float((a.double() - b).abs().max() / b.abs().max()) for a, b in zip(found, exact, strict=True))


def milliseconds(step: Callable[[], Any]) -> float:
    """The median by CUDA events, after a warm-up."""
    for _ in range(WARM):
        step()
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    taken: list[float] = []
    started = time.perf_counter()
    while len(taken) < REPETITIONS and (len(taken) < 3 or time.perf_counter() - started < SECONDS):
        begin.record()
        step()
        end.record()
        end.synchronize()
        taken.append(begin.elapsed_time(end))
    return statistics.median(taken)
