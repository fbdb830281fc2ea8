"""The fused loss on a GPU, or in Triton's interpreter: tests/training/loss/test_fused.py runs this file in a process.

Shape suffixes as in training/loss/fused.py.
"""

import os
from unittest.mock import patch

import pytest
import torch

from recsys.data.jagged import Jagged
from training.batches.negatives import Negatives, OwnItems
from training.loss import Mask, fused, kernels, sampled_softmax

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
if os.environ.get("TRITON_INTERPRET") == "1":
    from tests.triton_interpreter import use_bf16

    use_bf16()
    DEVICE = "cpu"

ROUNDING = 2**-8  # twice what rounding to bf16 changes a number by, in parts of it
OWN = Jagged.from_rows([[7, 3, 7], [], [25, 5, 1, 29, 9, 12], [2], list(range(1, 29, 2))])
SIZES = [  # K, T, N, D: beside the blocks and spans and within one, padded dimensions, no negatives, one token
    (1, 150, 300, 64),
    (2, 70, 131, 32),
    (3, 5, 7, 10),
    (1, 9, 40, 100),
    (2, 1, 1, 16),
    (1, 1, 200, 64),
    (1, 40, 0, 64),
]
WIDE = [(1, 130, 257, 128), (1, 33, 65, 256)]  # whose blocks are not the same everywhere


def draw(num_members, num_tokens, num_negatives, dim, *, num_ids=30, exact=True):
    """Vectors in float64, whose rounding to bf16 is exact unless asked otherwise, and ids with accidental hits."""
    generator = torch.Generator().manual_seed(0)

    def vectors(count):
        drawn = torch.randn(num_members, count, dim, generator=generator) / 2
        return (drawn.bfloat16() if exact else drawn).double()

    def ids(count):
        return torch.randint(1, num_ids + 1, (count,), generator=generator)

    leaves = vectors(num_tokens), vectors(num_tokens), vectors(num_negatives)
    return *leaves, ids(num_tokens), ids(num_negatives), torch.randn(num_negatives, generator=generator)


def owners(num_tokens):
    """Tokens of a user stand together, and a user comes back."""
    return torch.arange(num_tokens) // 3 % len(OWN)


def run(inputs, dtype, *, own=False, exponent=1.2, temperature=0.5):
    """By kernel if ``dtype`` is float32: the losses, and the gradients of users, positives, negatives, temperature."""
    device = DEVICE if dtype == torch.float32 else "cpu"
    leaves = [value.to(device, dtype, copy=True).requires_grad_() for value in inputs[:3]]
    temperature = torch.tensor(temperature, device=device, dtype=dtype, requires_grad=True)
    positive_ids, negative_ids, log_expected = (value.to(device) for value in inputs[3:])
    mask = Mask(positive_ids)
    if own:
        mask = Mask(positive_ids, owners(len(positive_ids)).to(device), OwnItems.from_histories(OWN, device))
    negatives = Negatives(negative_ids, leaves[2], log_expected.to(dtype))
    with patch("training.loss.softmax.is_fusable", lambda *_: dtype == torch.float32):
        losses = sampled_softmax(*leaves[:2], negatives, mask, temperature=temperature, negative_exponent=exponent)
    weights = torch.linspace(0.5, 2, losses.shape[1], device=device, dtype=dtype)
    gradients = torch.autograd.grad((losses * weights).sum(), [*leaves, temperature])
    return [value.detach().cpu() for value in (losses, *gradients)]


def assert_near(actual, expected, *tolerances):
    """Each within its tolerance, or else the last one, in parts of the largest number."""
    for index, (one, other) in enumerate(zip(actual, expected, strict=True)):
        assert one.isfinite().all()
        scale = max(1e-3, float(other.abs().max())) if other.numel() else 1.0
        atol = scale * tolerances[min(index, len(tolerances) - 1)]
        torch.testing.assert_close(one.double(), other, rtol=0, atol=atol)


def check_against_float64(size, own):
    """A temperature of 1/2 keeps the users' rounding exact, so that only the gradients' weights are rounded."""
    inputs = draw(*size)
    assert_near(run(inputs, torch.float32, own=own), run(inputs, torch.float64, own=own), 1e-5, ROUNDING)
    if own and size[2] >= 200:
        assert not torch.equal(run(inputs, torch.float64, own=True)[0], run(inputs, torch.float64)[0])


@pytest.mark.parametrize("own", [False, True], ids=["", "own items masked"])
@pytest.mark.parametrize("size", [*SIZES, *WIDE], ids=str)
def test_loss_and_gradients_equal_those_of_the_chunked_loss_in_float64(size, own):
    check_against_float64(size, own)


if DEVICE == "cpu":

    @pytest.mark.parametrize("own", [False, True], ids=["", "own items masked"])
    @pytest.mark.parametrize("size", WIDE, ids=str)
    def test_with_the_blocks_of_hopper(size, own, monkeypatch):
        monkeypatch.setattr(fused, "_architecture", lambda device: 90)
        check_against_float64(size, own)


def test_what_rounding_to_bf16_costs():
    """Unit vectors of 64 dimensions at a temperature of .05: logits up to 20."""
    inputs = draw(1, 100, 400, 64, exact=False)
    unit = [torch.nn.functional.normalize(vectors, dim=2) for vectors in inputs[:3]]
    inputs = *unit, *inputs[3:]
    actual, expected = (run(inputs, dtype, temperature=0.05, exponent=1.0) for dtype in (torch.float32, torch.float64))
    difference = float((actual[0] - expected[0]).abs().max())
    assert 1e-4 < difference < 0.01
    assert_near(actual[1:], expected[1:], 0.01)


def test_wide_logits_do_not_overflow():
    users, *rest = draw(1, 70, 131, 64)
    inputs = 32 * users, *rest
    assert float((inputs[0] @ inputs[2].mT).max()) > 200  # its exponential is no float32
    assert_near(run(inputs, torch.float32), run(inputs, torch.float64), 1e-5, ROUNDING)


@pytest.mark.parametrize("num_negatives", [0, 5, 200])
def test_without_an_unmasked_negative_loss_and_gradients_are_zero(num_negatives):
    *vectors, positive_ids, negative_ids, log_expected = draw(2, 70, num_negatives, 64)
    ids = torch.full_like(positive_ids, 3), torch.full_like(negative_ids, 3)
    assert all((value == 0).all() for value in run((*vectors, *ids, log_expected), torch.float32))


def test_a_token_whose_whole_pool_is_masked_does_not_change_the_others():
    *vectors, positive_ids, negative_ids, log_expected = draw(1, 70, 131, 64)
    positive_ids = torch.ones_like(positive_ids)
    positive_ids[5] = 3
    inputs = *vectors, positive_ids, torch.full_like(negative_ids, 3), log_expected
    actual = run(inputs, torch.float32)
    assert_near(actual, run(inputs, torch.float64), 1e-5, ROUNDING)
    assert actual[0][0, 5] == 0
    assert (actual[1][0, 5] == 0).all()
    assert (actual[1][0, 4] != 0).any()


def test_a_span_that_is_masked_for_a_token_does_not_count():
    """Partial results of -inf are added to others."""
    *vectors, positive_ids, negative_ids, log_expected = draw(1, 10, 400, 64)
    positive_ids[:] = 3
    negative_ids[: kernels.ALIGN] = 3
    negative_ids[kernels.ALIGN :] = 4
    inputs = *vectors, positive_ids, negative_ids, log_expected
    assert_near(run(inputs, torch.float32), run(inputs, torch.float64), 1e-5, ROUNDING)


def test_the_same_input_gives_the_same_bits_however_it_lies_in_memory():
    users, positives, negatives, *rest = draw(2, 70, 140, 32)
    first = run((users, positives, negatives, *rest), torch.float32, own=True)
    strided = [vectors.transpose(0, 1).contiguous().transpose(0, 1) for vectors in (users, positives, negatives)]
    for inputs in ((users, positives, negatives, *rest), (*strided, *rest)):
        again = run(inputs, torch.float32, own=True)
        assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))


@pytest.mark.parametrize("num_negatives", [1, 31, 128, 1100])
def test_the_bits_are_those_of_own_items(num_negatives):
    generator = torch.Generator().manual_seed(1)
    ids_N = torch.randint(0, 40, (num_negatives,), generator=generator)  # some above every own item
    users_T, own_items = owners(40), OwnItems.from_histories(OWN)
    on_device = OwnItems.from_histories(OWN, torch.device(DEVICE))
    own = fused.OwnBits.of(on_device, users_T.to(DEVICE), ids_N.to(DEVICE))
    bits = (own.bits[own.rows].cpu().unsqueeze(2) >> torch.arange(32)) & 1
    expected = torch.zeros(40, bits.shape[1] * 32, dtype=torch.bool)
    expected[:, :num_negatives] = own_items.hold(users_T, ids_N)
    assert torch.equal(bits.flatten(1).bool(), expected)
    assert len(own.rows.unique()) == 14  # one for each run of a user


@pytest.mark.parametrize("size", [(1, 0), (1, 1), (5, 10_000), (2_048, 4_096), (8_192, 8_192), (65_536, 65_536)])
def test_spans_cover_the_columns_once_and_fill_a_gpu(size):
    num_rows, num_columns = size
    launch = fused._Launch.of(torch.empty(2, num_rows, 64, device="meta"), num_columns, None)
    assert launch.span % launch.blocks.columns == 0
    assert (launch.num_spans - 1) * launch.span < max(1, num_columns) <= launch.num_spans * launch.span
    num_programs = launch.grid[0] * launch.grid[1] * launch.grid[2]
    assert num_programs >= fused.PROGRAMS or launch.span == kernels.ALIGN
    assert launch.num_spans == 1 or (launch.num_spans - 2) * launch.grid[0] * launch.grid[2] < 2 * fused.PROGRAMS
