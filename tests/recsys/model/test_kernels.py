"""Hand-written backward passes give the values and gradients of the plain formula."""

import pytest
import torch
from torch.nn import functional as F

from recsys.model.kernels import Dropout, RMSNorm, rotate, swiglu, weighted_means

HORIZONS = (1, 2, 5, 20)  # the last is longer than any history here
ROTATION = torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def plain_means(x_KBLD, weight_KHD):
    length = x_KBLD.shape[2]
    means = [
        torch.stack([x_KBLD[:, :, max(0, end - horizon) : end].mean(dim=2) for end in range(1, length + 1)], dim=2)
        for horizon in HORIZONS
    ]
    weights = weight_KHD[:, :, None, None].unbind(1)
    return sum(weight_K11D * mean_KBLD for weight_K11D, mean_KBLD in zip(weights, means, strict=True))


def plain_rotate(x):
    (first, second), (cos, sin) = x.chunk(2, dim=-1), ROTATION.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)


def plain_swiglu(x):
    gate, up = x.chunk(2, dim=-1)
    return F.silu(gate) * up


def plain_norm(x, weight_KD):
    members = zip(x, weight_KD, strict=True)
    return torch.stack([F.rms_norm(x_of_member, weight_D.shape, weight_D) for x_of_member, weight_D in members])


def norm(x, weight_KD):
    return torch.func.functional_call(RMSNorm(*weight_KD.shape), {"weight": weight_KD}, x)


CASES = {
    "means": (lambda x, w: weighted_means(x, w, HORIZONS[:-1]), plain_means, [(3, 2, 9, 4), (3, 4, 4)]),
    "means of one event": (lambda x, w: weighted_means(x, w, HORIZONS[:-1]), plain_means, [(2, 3, 1, 2), (2, 4, 2)]),
    "rotate": (lambda x: rotate(x, ROTATION), plain_rotate, [(2, 3, 5, 4)]),
    "rotate heads": (
        lambda x: rotate(x.transpose(1, 2), ROTATION), lambda x: plain_rotate(x.transpose(1, 2)), [(2, 5, 3, 4)],
    ),
    "swiglu": (swiglu, plain_swiglu, [(2, 3, 8)]),
    "norm": (norm, plain_norm, [(2, 3, 5, 8), (2, 8)]),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_values_and_gradients_are_those_of_the_plain_formula(case):
    fused, plain, shapes = CASES[case]
    torch.manual_seed(0)
    leaves = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    torch.testing.assert_close(fused(*leaves), plain(*leaves), rtol=1e-12, atol=1e-12)
    gradients, expected = (torch.autograd.grad(formula(*leaves).sin().sum(), leaves) for formula in (fused, plain))
    torch.testing.assert_close(gradients, expected, rtol=1e-10, atol=1e-12)
    assert torch.autograd.gradcheck(fused, leaves)


def test_the_norm_of_a_zero_vector_is_zero_with_finite_gradients():
    x = torch.zeros(2, 3, 8, requires_grad=True)
    out = RMSNorm(2, 8)(x)
    out.sum().backward()
    assert not out.any()
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize("p", [0.1, 0.3, 0.5])
def test_dropout_drops_its_share_and_keeps_the_mean(p):
    torch.manual_seed(0)
    x = torch.ones(300, 1_001, requires_grad=True)
    out = Dropout(p)(x)
    assert abs(float((out == 0).float().mean()) - p) < 0.004  # p is rounded to a multiple of 1/256
    assert abs(float(out.detach().mean()) - 1) < 0.005
    out.sum().backward()
    torch.testing.assert_close(x.grad, out.detach())
    columns = (out == 0).float().mean(dim=0)
    assert float(columns.max()) < p + 0.2  # no channel is dropped more often than others


def test_dropout_follows_the_seed_and_does_nothing_in_evaluation():
    x, dropout = torch.ones(10, 7), Dropout(0.5)
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append(dropout(x))
    assert drawn[0].equal(drawn[1])
    assert not drawn[0].equal(drawn[2])
    assert Dropout(0.0)(x) is x
    assert dropout.eval()(x).equal(x)
    assert torch.isfinite(Dropout(0.9999)(x)).all()
