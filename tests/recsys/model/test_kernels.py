"""On every device, values and gradients are those of the plain formula."""

import pytest
import torch
from torch.nn import functional as F

from recsys.model import kernels
from recsys.model.kernels import Dropout, RMSNorm, add_gated, member_linears, rotate, rotation, swiglu
from tests.pretend_device import PretendDevice


@pytest.fixture(params=["cpu", "pretend"])
def device(request):
    with PretendDevice() as pretend:
        yield pretend.device if request.param == "pretend" else torch.device("cpu")


def plain_rotate(x):
    half = x.shape[-1] // 2
    angle = torch.arange(x.shape[-2]).unsqueeze(1) * 10_000.0 ** (-torch.arange(half, dtype=torch.float64) / half)
    (first, second), cos, sin = x.chunk(2, dim=-1), angle.cos(), angle.sin()
    return torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)


def by_event(x):
    """[B, L, heads, H] as heads first."""
    return x.transpose(1, 2)


def rotation_of(x):
    return rotation(*x.shape[-2:], x.dtype, x.device)


def plain_swiglu(x):
    gate, up = x.chunk(2, dim=-1)
    return F.silu(gate) * up


def plain_norm(x, weight_KD):
    members = zip(x, weight_KD, strict=True)
    return torch.stack([F.rms_norm(x_of_member, weight_D.shape, weight_D) for x_of_member, weight_D in members])


def norm(x, weight_KD):
    return torch.func.functional_call(RMSNorm(*weight_KD.shape), {"weight": weight_KD}, x)


def plain_maps(x, *weights_and_biases):
    weights, biases = weights_and_biases[:2], weights_and_biases[2:]
    return torch.cat(
        [
            torch.einsum("kbi,koi->kbo", x, weight_KOI) + bias_KO.unsqueeze(1)
            for weight_KOI, bias_KO in zip(weights, biases, strict=True)
        ],
        dim=-1,
    )


CASES = {
    "rotate": (lambda x: rotate([x], rotation_of(x))[0], plain_rotate, [(2, 1, 5, 4)]),
    "rotate several": (
        lambda x, y: torch.cat(rotate([by_event(x), by_event(y)], rotation_of(by_event(x))), dim=1),
        lambda x, y: torch.cat([plain_rotate(by_event(x)), plain_rotate(by_event(y))], dim=1),
        [(2, 70, 3, 4), (2, 70, 2, 4)],
    ),
    "swiglu": (swiglu, plain_swiglu, [(2, 3, 8)]),
    "norm": (norm, plain_norm, [(2, 3, 5, 8), (2, 8)]),
    "gate": (add_gated, lambda x, gate, change: x + torch.sigmoid(gate) * change, [(2, 3, 4)] * 3),
    "one map": (
        lambda x, w, b: next(member_linears(x, [w], [b])),
        lambda x, w, b: (x.unsqueeze(-2) * w[:, None, None]).sum(-1) + b[:, None, None],
        [(2, 3, 4, 5), (2, 6, 5), (2, 6)],
    ),
    "two maps": (
        lambda x, *w: torch.cat(list(member_linears(x, w[:2], w[2:])), dim=-1), plain_maps,
        [(2, 3, 5), (2, 6, 5), (2, 1, 5), (2, 6), (2, 1)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_values_and_gradients_are_those_of_the_plain_formula(case, device):
    fused, plain, shapes = CASES[case]
    torch.manual_seed(0)
    leaves = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    moved = [leaf.detach().to(device).requires_grad_() for leaf in leaves]
    torch.testing.assert_close(fused(*moved).cpu(), plain(*leaves), rtol=1e-12, atol=1e-12)
    expected = torch.autograd.grad(plain(*leaves).sin().sum(), leaves)
    gradients = torch.autograd.grad(fused(*moved).sin().sum(), moved)
    for gradient, value in zip(gradients, expected, strict=True):
        torch.testing.assert_close(gradient.cpu(), value, rtol=1e-10, atol=1e-12)


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


def test_what_a_gpu_computes_in_bf16_is_near_float32():
    """The layers of other devices, on the CPU under autocast: dtypes mix in the forward and backward pass."""
    torch.manual_seed(0)
    leaves = [torch.randn(shape, requires_grad=True) for shape in ((2, 6, 8), (2, 8, 8), (2, 8))]
    table = torch.cat([torch.ones(6, 8), torch.zeros(6, 8)], dim=1)[:, None]

    def layers(x, weight, bias):
        mapped = kernels._MemberLinears.apply(x, weight, bias)
        turned = kernels._RotateRolled.apply(mapped.unsqueeze(2), table).squeeze(2)
        return kernels._AddGated.apply(x, mapped, turned.to(mapped.dtype))

    exact = layers(*leaves)
    expected = torch.autograd.grad(exact.sin().sum(), leaves)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = layers(*leaves)
    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded, exact, rtol=0.05, atol=0.05)
    for gradient, value in zip(torch.autograd.grad(rounded.sin().sum(), leaves), expected, strict=True):
        assert gradient.dtype == torch.float32
        assert F.cosine_similarity(gradient.flatten(), value.flatten(), dim=0) > 0.99
