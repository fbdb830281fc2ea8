"""Sampled softmax forward and backward: eager, compiled, and training.loss in chunks and fused.

Legend: T tokens (B in the table), N negatives, D dimensions, C tokens of a chunk.
"""

import hashlib
import math
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing import get_context
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.gpu import rows
from benchmarks.gpu.rows import Figures, Job, Row, Send, outcome
from benchmarks.gpu.timing import milliseconds, peak_mib
from training.loss.fusable import refusal

SIZES = [(size, dim) for size in (8_192, 65_536) for dim in (64, 128, 256)]
Loss = Callable[..., Tensor]
FUSED, CHUNKED, COMPILED = "fused, training.loss", "chunked, training.loss", "torch.compile of eager"
LOSSES = [  # what matters most comes first, for the time may not suffice for all
    (FUSED, "bf16"), (CHUNKED, "float32"), ("eager", "bf16"), (COMPILED, "bf16"),
    (CHUNKED, "tf32"), ("eager", "float32"), ("eager", "tf32"), (COMPILED, "float32"), (COMPILED, "tf32"),
]  # fmt: skip
CHUNK = 1024  # tokens whose float64 logits are held at once
ERROR_LIMITS = {"float32": 1e-4, "tf32": 1e-2, "bf16": 1e-1}


def losses() -> Iterator[Job]:
    yield Job("loss", "bf16 product", gemm)
    ours = rows.sized(LOSSES[0], LOSSES[1])
    yield Job("loss", ", ".join(ours), same_bits, ours)
    for way, products in LOSSES:
        yield Job("loss", f"{way}, {products}", compare, (way, products))


def gemm(send: Send) -> None:
    side = side_of_gemm()
    send(Row("loss", f"{side} x {side} x {side}", "bf16 product", outcome(lambda: {"TFLOP/s": gemm_rate() / 1e12})))


def compare(send: Send, way: str, products: str) -> None:
    for size, dim in sizes():
        figures = outcome(measure_loss, way, products, size, dim)
        send(Row("loss", f"B = N = {size:,}, d = {dim}", f"{way}, {products}", figures))


def same_bits(send: Send, way: str, products: str) -> None:
    """Whether another process computes the same losses and gradients, to the bit."""
    for size, dim in sizes():
        figures = outcome(compare_bits, way, products, size, dim)
        send(Row("loss", f"B = N = {size:,}, d = {dim}", f"{way}, {products}", figures))


def compare_bits(way: str, products: str, size: int, dim: int) -> Figures:
    arguments = way, products, size, dim, rows.DEVICE
    with get_context("spawn").Pool(1) as other:
        same = digest(*arguments) == other.apply(digest, arguments)
    return {"bits in two processes": "the same"} if same else {"failed": "two processes computed different bits"}


def digest(way: str, products: str, size: int, dim: int, device: str) -> str:
    """Of the loss and its gradients."""
    rows.DEVICE = device
    inputs = draw(size, size, dim)
    mean = loss_function(way, products)(*inputs).mean()
    tensors = mean.detach(), *torch.autograd.grad(mean, inputs[:3])
    return hashlib.sha256(b"".join(tensor.cpu().numpy().tobytes() for tensor in tensors)).hexdigest()


def sizes() -> list[tuple[int, int]]:
    return rows.sized(SIZES, [(64, 16)])


def side_of_gemm() -> int:
    return rows.sized(8192, 128)


def gemm_rate() -> float:
    """Operations a second."""
    side = side_of_gemm()
    left, right = (torch.randn(side, side, device=rows.DEVICE, dtype=torch.bfloat16) for _ in range(2))
    return 2 * side**3 / (milliseconds(lambda: left @ right) / 1e3)


def measure_loss(way: str, products: str, size: int, dim: int) -> Figures:
    torch.set_float32_matmul_precision("high" if products == "tf32" else "highest")
    gemm = gemm_rate()
    loss_of, inputs = loss_function(way, products), draw(size, size, dim)
    leaves = inputs[:3]

    def step() -> tuple[Tensor, ...]:
        return torch.autograd.grad(loss_of(*inputs).mean(), leaves)

    error = gradient_error(step(), exact_gradients(*inputs))
    taken = milliseconds(step)
    share = 3 * 2 * size * size * dim / (taken / 1e3) / gemm
    figures: Figures = {
        "ms": taken, "peak MiB": peak_mib(step), "share of bf16 GEMM": share, "gradient error": error,
    }  # fmt: skip
    return figures if error <= ERROR_LIMITS[products] else figures | {"failed": "wrong gradients"}


def loss_function(way: str, products: Any) -> Loss:
    """A function of users [T, D], positives [T, D], negatives [N, D], their ids and log_expected [N] to [T]."""
    if way == FUSED:
        return fused_or_not_at_all
    if way == CHUNKED:
        return patch("training.loss.softmax.is_fusable", lambda *_: False)(our_sampled_softmax)
    eager = partial(eager_sampled_softmax, bf16=products == "bf16")
    if way != COMPILED:
        return eager
    return torch.compile(eager, dynamic=False, backend=rows.sized("inductor", "eager"))


def fused_or_not_at_all(*inputs: Tensor) -> Tensor:
    """Ours, which on a GPU is fused; where it is not, the reason is raised."""
    if rows.DEVICE == "cpu":
        raise ModuleNotFoundError(name="a GPU")
    reason = refusal(inputs[0][None], len(inputs[2]), torch.cuda.get_device_capability())
    if reason is not None:
        raise RuntimeError(reason)
    return our_sampled_softmax(*inputs)


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
