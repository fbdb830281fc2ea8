"""Shape suffixes as in training/loss/softmax.py, and I for the items of a small world."""

import math
import weakref

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from recsys.data.jagged import Jagged
from training.batches.negatives import NegativePool, Negatives, NegativeSampler, OwnItems
from training.loss import Mask, softmax as training_loss


def sampled_softmax(
    users, positives, negatives, positive_ids, negative_ids, log_expected_N, *, own_T=None, own_items=None, **settings
):
    """The loss under test for one member, with its values taken apart."""
    pool, mask = Negatives(negative_ids, negatives[None], log_expected_N), Mask(positive_ids, own_T, own_items)
    return training_loss.sampled_softmax(users[None], positives[None], pool, mask, **settings)[0]


def log_expected(drawn, num_drawn, batch, num_batch):
    rows = np.arange(len(drawn.log_share))
    return NegativePool(drawn, batch).log_expected(num_drawn, num_batch, rows)


def draw(num_tokens=7, num_negatives=11, dim=4, num_ids=9, seed=0):
    """Random arguments of ``sampled_softmax`` in float64, with accidental hits; ids from 1."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    def ids(count):
        return torch.randint(1, num_ids + 1, (count,), generator=generator)

    return (
        normal(num_tokens, dim), normal(num_tokens, dim), normal(num_negatives, dim),
        ids(num_tokens), ids(num_negatives), normal(num_negatives),
    )  # fmt: skip


OWNERS = torch.tensor([2, 0, 0, 1, 3, 3, 2])
OWN = Jagged.from_rows([[7, 3], [], [5, 1, 9], [2]])


def oracle(
    users, positives, negatives, positive_ids, negative_ids, log_expected_N, temperature=1.0, own=None, exponent=1.0
):
    """The loss of each token, one product at a time."""
    losses = []
    for t in range(len(users)):
        positive = sum(float(a) * float(b) for a, b in zip(users[t], positives[t], strict=True)) / temperature
        total = 0.0
        for j in range(len(negatives)):
            if negative_ids[j] == positive_ids[t] or (own is not None and int(negative_ids[j]) in own[t]):
                continue
            logit = sum(float(a) * float(b) for a, b in zip(users[t], negatives[j], strict=True)) / temperature
            total += math.exp(logit - float(log_expected_N[j]))
        losses.append(math.log(math.exp(positive) + total**exponent) - positive)
    return losses


@pytest.mark.parametrize("temperature", [1.0, 0.3])
@pytest.mark.parametrize("masked", [False, True])
def test_the_loss_equals_an_oracle_of_loops(temperature, masked):
    arguments = draw()
    assert (arguments[3][:, None] == arguments[4]).any()  # the case has accidental hits
    own = {"own_T": OWNERS, "own_items": OwnItems.from_histories(OWN)} if masked else {}
    actual = sampled_softmax(*arguments, temperature=temperature, **own)
    own_sets = [set(OWN[owner].tolist()) for owner in OWNERS.tolist()]
    expected = oracle(*arguments, temperature, own_sets if masked else None)
    np.testing.assert_allclose(actual, expected, rtol=1e-8)
    if masked:
        assert not np.allclose(expected, oracle(*arguments, temperature))


def test_the_exponent_raises_the_sum_over_negatives():
    arguments = draw()
    actual = sampled_softmax(*arguments, temperature=0.3, negative_exponent=1.22)
    np.testing.assert_allclose(actual, oracle(*arguments, 0.3, exponent=1.22), rtol=1e-8)
    assert not np.allclose(actual, oracle(*arguments, 0.3))


def test_closed_form_of_equal_logits():
    """All logits are 0: the loss is log(1 + sum of 1 / expected over the negatives that are not the positive)."""
    _, _, _, positive_ids, negative_ids, expected = draw()
    zeros_TD, zeros_ND = torch.zeros(7, 4, dtype=torch.float64), torch.zeros(11, 4, dtype=torch.float64)
    actual = sampled_softmax(zeros_TD, zeros_TD, zeros_ND, positive_ids, negative_ids, expected)
    kept = (positive_ids[:, None] != negative_ids) * torch.exp(-expected)
    torch.testing.assert_close(actual, torch.log(1 + kept.sum(dim=1)))


@pytest.mark.parametrize("chunk_logits", [1, 1 << 23])
@pytest.mark.parametrize("num_negatives", [0, 5])
def test_without_an_unmasked_negative_loss_and_gradients_are_zero(chunk_logits, num_negatives):
    """And never NaN: the pool may be empty, or every negative may be masked."""
    users, positives, negatives, *_ = draw(num_negatives=num_negatives)
    leaves = [part.requires_grad_() for part in (users, positives, negatives)]
    ids = torch.full((7,), 3), torch.full((num_negatives,), 3)
    loss = sampled_softmax(*leaves, *ids, torch.zeros(num_negatives).double(), chunk_logits=chunk_logits)
    assert loss.tolist() == [0.0] * 7
    loss.sum().backward()
    for leaf in leaves:
        torch.testing.assert_close(leaf.grad, torch.zeros_like(leaf), rtol=0, atol=0)


def test_a_token_whose_whole_pool_is_masked_does_not_change_the_others():
    users, positives, negatives, *_, expected = draw()
    ids = torch.full((11,), 3)
    positive_ids = torch.tensor([3, 1, 1, 1, 1, 1, 1])
    by_hand = oracle(users, positives, negatives, positive_ids, ids, expected)
    actual = sampled_softmax(users.requires_grad_(), positives, negatives, positive_ids, ids, expected)
    actual.sum().backward()
    np.testing.assert_allclose(actual.detach(), by_hand, rtol=1e-8, atol=1e-12)
    assert users.grad.isfinite().all()
    assert (users.grad[0] == 0).all()
    assert (users.grad[1:] != 0).any()


@pytest.mark.parametrize("chunk_logits", [1 << 23, 25])
def test_gradients_equal_finite_differences(chunk_logits):
    users, positives, negatives, *ids = draw()
    leaves = [part.requires_grad_() for part in (users, positives, negatives)]
    temperature = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)

    def loss(users, positives, negatives, temperature):
        own = OwnItems.from_histories(OWN)
        return sampled_softmax(
            users, positives, negatives, *ids, temperature=temperature, own_T=OWNERS, own_items=own,
            chunk_logits=chunk_logits,
        )  # fmt: skip

    assert torch.autograd.gradcheck(loss, (*leaves, temperature))


@pytest.mark.parametrize("chunk_logits", [1, 11, 30, 76, 77])
def test_chunk_size_changes_nothing(chunk_logits):
    def run(chunk_logits):
        users, positives, negatives, *ids = draw()
        leaves = [part.requires_grad_() for part in (users, positives, negatives)]
        loss = sampled_softmax(
            *leaves, *ids, own_T=OWNERS, own_items=OwnItems.from_histories(OWN), chunk_logits=chunk_logits
        )
        (loss * torch.arange(1.0, 8.0)).sum().backward()
        return loss, *(leaf.grad for leaf in leaves)

    for chunked, whole in zip(run(chunk_logits), run(1 << 23), strict=True):
        torch.testing.assert_close(chunked, whole, rtol=1e-12, atol=1e-12)


class Outputs(TorchDispatchMode):
    """Records every tensor that an operation creates: the largest size, and which large ones are still alive."""

    def __init__(self, large):
        super().__init__()
        self.large, self.largest, self.seen = large, 0, []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else (out,):
            if isinstance(tensor, torch.Tensor):
                self.largest = max(self.largest, tensor.numel())
                if tensor.numel() >= self.large:
                    self.seen.append(weakref.ref(tensor))
        return out

    @property
    def alive(self):
        return sum(reference() is not None for reference in self.seen)


@pytest.mark.parametrize(("chunk_logits", "bounded"), [(5_000, True), (1 << 23, False)])
def test_memory_is_bounded_by_the_chunk(chunk_logits, bounded):
    """With several chunks, nothing of shape [T, N] is ever created, or stored for the backward pass."""
    users, positives, negatives, *ids = draw(num_tokens=500, num_negatives=400, dim=2, num_ids=300)
    leaves = [part.requires_grad_() for part in (users, positives, negatives)]
    own = OwnItems.from_histories(Jagged.from_rows([[1, 2, 3]] * 50))
    with Outputs(large=4_000) as outputs:
        owners = torch.arange(500) // 10
        loss = sampled_softmax(*leaves, *ids, own_T=owners, own_items=own, chunk_logits=chunk_logits)
        stored = outputs.alive
        loss.sum().backward()
    assert (outputs.largest <= 5_000) == bounded
    assert (stored == 0) == bounded
    assert outputs.largest <= max(chunk_logits, 1) if bounded else outputs.largest == 500 * 400


# The sampled gradient against the full softmax, on a world of 50 items.

NUM_ITEMS, T, D, B = 50, 12, 8, 64
DRAWS = {32: 1000, 256: 500, 2048: 500}
LIMITS = {32: 0.2, 256: 0.03, 2048: 0.005}  # the bias falls as 1/N: .10, .014 and .003 on another such world


def small_world():
    generator = torch.Generator().manual_seed(1)
    items_ID = torch.randn(NUM_ITEMS + 1, D, generator=generator, dtype=torch.float64) * 0.8
    users_TD = torch.randn(T, D, generator=generator, dtype=torch.float64) * 0.8
    positives_T = torch.randint(1, NUM_ITEMS + 1, (T,), generator=generator)
    own_TI = torch.rand(T, NUM_ITEMS + 1, generator=generator) < 0.15
    own_TI[:, 0] = False
    own_TI[torch.arange(T), positives_T] = False
    counts = np.random.default_rng(1).zipf(1.6, NUM_ITEMS + 1).clip(1, 60).astype(np.int64)
    return users_TD, items_ID, positives_T, own_TI, counts


def gradient(loss_of, users_TD, items_ID):
    users_TD, items_ID = users_TD.clone().requires_grad_(), items_ID.clone().requires_grad_()
    loss_of(users_TD, items_ID).mean().backward()
    return torch.cat([users_TD.grad.flatten(), items_ID.grad.flatten()])


def full_softmax(masked):
    """The gradient of -log softmax over all items; with ``masked`` the user's own items are left out of the sum."""
    users_TD, items_ID, positives_T, own_TI, _ = small_world()

    def loss(users_TD, items_ID):
        logits_TI = users_TD @ items_ID[1:].T
        if masked:
            logits_TI = logits_TI.masked_fill(own_TI[:, 1:], -torch.inf)
        return torch.nn.functional.cross_entropy(logits_TI, positives_T - 1, reduction="none")

    return gradient(loss, users_TD, items_ID)


def sampled_gradient(exponent, num_drawn, num_batch, expected_of, masked=False, draws=None):
    """The mean over draws of pools of ``num_drawn`` drawn items and ``num_batch`` positives, drawn by popularity."""
    users_TD, items_ID, positives_T, own_TI, counts = small_world()
    drawn = NegativeSampler.from_counts(counts, exponent)
    batch = NegativeSampler.from_counts(counts, 1.0) if num_batch else None
    expected = torch.from_numpy(expected_of(drawn, num_drawn, batch, num_batch))
    rng = np.random.default_rng(5)
    own = (
        OwnItems.from_histories(Jagged.from_rows([own.nonzero()[:, 0].tolist() for own in own_TI])) if masked else None
    )
    total = 0.0
    draws = draws or DRAWS[num_drawn]
    for _ in range(draws):
        pool = drawn.draw(rng, num_drawn)
        if batch is not None:
            pool = np.concatenate([pool, batch.draw(rng, num_batch)])
        pool_N = torch.from_numpy(pool)

        def loss(users_TD, items_ID, pool_N=pool_N):
            return sampled_softmax(
                users_TD, items_ID[positives_T], items_ID[pool_N], positives_T, pool_N, expected[pool_N],
                own_T=torch.arange(T), own_items=own,
            )  # fmt: skip

        total = total + gradient(loss, users_TD, items_ID)
    return total / draws


def relative_error(actual, expected):
    return float((actual - expected).norm() / expected.norm())


@pytest.mark.parametrize(
    ("exponent", "num_batch", "masked"),
    [(0.0, 0, False), (0.5, 0, False), (0.0, B, False), (0.0, B, True)],
    ids=["uniform", "popularity", "mixed", "mixed, history masked"],
)
def test_gradient_approaches_the_full_softmax(exponent, num_batch, masked):
    oracle = full_softmax(masked)
    errors = {
        size: relative_error(sampled_gradient(exponent, size, num_batch, log_expected, masked), oracle)
        for size in DRAWS
    }
    assert all(errors[size] < LIMITS[size] for size in DRAWS), errors
    assert errors[32] > 3 * errors[256] > 6 * errors[2048], errors


def flipped(drawn, num_drawn, batch, num_batch):
    return -log_expected(drawn, num_drawn, batch, num_batch)


def separate(drawn, num_drawn, batch, num_batch):
    """A published mistake: the drawn items are corrected as if they had no other source."""
    return log_expected(drawn, num_drawn, None, 0)


def none_at_all(drawn, num_drawn, batch, num_batch):
    return np.zeros(NUM_ITEMS + 1)


@pytest.mark.parametrize("wrong", [flipped, separate, none_at_all])
def test_a_wrong_correction_does_not_converge(wrong):
    oracle = full_softmax(False)
    size = 2048  # of each source, so that the popularity of the batch matters
    assert relative_error(sampled_gradient(0.0, size, size, log_expected, draws=60), oracle) < 0.01
    assert relative_error(sampled_gradient(0.0, size, size, wrong, draws=60), oracle) > 0.05


def test_masking_history_changes_the_target():
    assert relative_error(full_softmax(True), full_softmax(False)) > 0.05
