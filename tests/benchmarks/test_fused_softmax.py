"""The fused kernel on a GPU, or in Triton's interpreter where there is none. Legend as in training/loss/softmax.py."""

import os
import sys

import pytest
import torch

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
if DEVICE == "cpu":
    if "triton" in sys.modules and os.environ.get("TRITON_INTERPRET") != "1":
        pytest.skip(
            "triton was imported before its interpreter was asked for; run this file alone", allow_module_level=True
        )
    os.environ["TRITON_INTERPRET"] = "1"  # read when triton is imported
pytest.importorskip(
    "triton", reason="triton is not installed; it comes with the CUDA build of torch, or pip install triton"
)

from benchmarks.gpu import fused_softmax  # noqa: E402  # only now
from benchmarks.gpu.fused_softmax import fused_sampled_softmax  # noqa: E402
from benchmarks.gpu.loss import our_sampled_softmax as sampled_softmax  # noqa: E402

SIZES = [  # T, N, D: beside the blocks of 64 and the spans of 128, and within one
    (150, 300, 64),
    (70, 131, 128),
    (64, 128, 64),
    (5, 7, 10),
    (1, 1, 16),
]


def draw(num_tokens, num_negatives, dim, num_ids=30):
    """Inputs in float64, with accidental hits."""
    generator = torch.Generator().manual_seed(0)
    leaves = [
        torch.randn(rows, dim, generator=generator).double() / 2 for rows in (num_tokens, num_tokens, num_negatives)
    ]
    ids = [torch.randint(1, num_ids + 1, (count,), generator=generator) for count in (num_tokens, num_negatives)]
    return *leaves, *ids, torch.randn(num_negatives, generator=generator).double()


def plain(users, positives, negatives, positive_ids, negative_ids, log_expected, *, temperature, negative_exponent):
    """The formula, with all logits at once."""
    logits = users @ negatives.T / temperature - log_expected
    logits = torch.where(positive_ids[:, None] == negative_ids, -torch.inf, logits)
    positive = (users * positives).sum(dim=1) / temperature
    return torch.nn.functional.softplus(negative_exponent * logits.logsumexp(dim=1) - positive)


def run(loss_of, inputs, dtype, exponent=1.2, **more):
    """The losses, and the gradients of users, positives, negatives and the temperature."""
    leaves = [value.to(DEVICE, dtype, copy=True).requires_grad_() for value in inputs[:3]]
    temperature = torch.tensor(0.5, device=DEVICE, dtype=dtype, requires_grad=True)
    ids, log_expected = [value.to(DEVICE) for value in inputs[3:5]], inputs[5].to(DEVICE, dtype)
    losses = loss_of(*leaves, *ids, log_expected, temperature=temperature, negative_exponent=exponent, **more)
    weights = torch.linspace(0.5, 2, len(losses), device=DEVICE, dtype=dtype)
    return losses.detach(), *torch.autograd.grad((losses * weights).sum(), [*leaves, temperature])


def assert_near(actual, expected, tolerance):
    for one, other in zip(actual, expected, strict=True):
        assert one.isfinite().all()
        torch.testing.assert_close(one.double(), other, rtol=0, atol=tolerance * max(1e-3, float(other.abs().max())))


@pytest.mark.parametrize(("products", "tolerance"), [("float32", 1e-5), ("tf32", 1e-2)])
@pytest.mark.parametrize("size", SIZES)
def test_equals_the_formula_and_the_chunked_loss(size, products, tolerance):
    inputs = draw(*size)
    actual = run(fused_sampled_softmax, inputs, torch.float32, products=products)
    assert_near(actual, run(plain, inputs, torch.float64), tolerance)
    assert_near(actual, run(sampled_softmax, inputs, torch.float64), tolerance)


@pytest.mark.parametrize("size", SIZES)
def test_narrow_products(size, monkeypatch):
    """bf16; float16 in the interpreter, whose products take bf16 for integers."""
    if DEVICE == "cpu":
        monkeypatch.setitem(fused_softmax.OPERANDS, "bf16", (torch.float16, "ieee"))
    inputs = draw(*size)
    actual, expected = (
        run(fused_sampled_softmax, inputs, torch.float32, products="bf16"),
        run(plain, inputs, torch.float64),
    )
    assert_near(actual, expected, 3e-2)
    wide = run(fused_sampled_softmax, inputs, torch.float32)
    assert not torch.equal(actual[1], wide[1])


def test_bf16_inputs_get_bf16_gradients():
    inputs = draw(70, 131, 64)
    actual = run(fused_sampled_softmax, inputs, torch.bfloat16)
    assert {value.dtype for value in actual[1:]} == {torch.bfloat16}
    rounded = [value.bfloat16().double() for value in inputs[:3]], inputs[3:5], [inputs[5].bfloat16().double()]
    assert_near(actual, run(plain, [value for part in rounded for value in part], torch.float64), 5e-2)


def test_wide_logits_do_not_overflow():
    users, *rest = draw(70, 131, 64)
    inputs = 40 * users, *rest
    assert float((inputs[0] @ inputs[2].T).max()) > 200  # its exponential is no float32
    expected = run(sampled_softmax, inputs, torch.float64, exponent=1.0)
    assert_near(run(fused_sampled_softmax, inputs, torch.float32, exponent=1.0), expected, 1e-4)


@pytest.mark.parametrize("num_negatives", [0, 5, 200])
def test_nothing_to_compare_with(num_negatives):
    """Without negatives, or with every one masked, there is nothing to learn: loss 0, gradients 0, no NaN."""
    users, positives, negatives, *_, log_expected = draw(70, num_negatives, 64)
    ids = torch.full((70,), 3), torch.full((num_negatives,), 3)
    actual = run(fused_sampled_softmax, (users, positives, negatives, *ids, log_expected), torch.float32)
    assert all((value == 0).all() for value in actual)


def test_one_masked_token_leaves_the_others_alone():
    users, positives, negatives, *_, log_expected = draw(70, 131, 64)
    positive_ids = torch.ones(70, dtype=torch.int64)
    positive_ids[5] = 3
    inputs = users, positives, negatives, positive_ids, torch.full((131,), 3), log_expected
    actual = run(fused_sampled_softmax, inputs, torch.float32)
    assert_near(actual, run(sampled_softmax, inputs, torch.float64), 1e-5)
    assert actual[0][5] == 0
    assert (actual[1][5] == 0).all()
    assert (actual[1][4] != 0).any()


def test_the_same_input_gives_the_same_bits_however_it_lies_in_memory():
    inputs = draw(150, 300, 64)
    first = run(fused_sampled_softmax, inputs, torch.float32)

    def strided(users, positives, negatives, *rest, **settings):
        return fused_sampled_softmax(users, positives, negatives.T.contiguous().T, *rest, **settings)

    for again in (run(fused_sampled_softmax, inputs, torch.float32), run(strided, inputs, torch.float32)):
        assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))


@pytest.mark.parametrize(("num_rows", "num_columns"), [(1, 0), (1, 1), (5, 10_000), (8_192, 8_192), (65_536, 65_536)])
def test_spans_cover_the_columns_once(num_rows, num_columns):
    num_spans, span = fused_softmax._spans(num_rows, num_columns)
    assert span % fused_softmax.ALIGN == 0
    assert (num_spans - 1) * span < max(1, num_columns) <= num_spans * span
    assert all(fused_softmax.ALIGN % columns == 0 for _, columns, _, _ in fused_softmax.BLOCKS)
