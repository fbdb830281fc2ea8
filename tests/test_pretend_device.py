"""What the tests on a pretend device rely on: that it refuses and counts what a GPU refuses and waits for."""

import pytest
import torch

from tests.pretend_device import PretendDevice


@pytest.fixture
def pretend():
    with PretendDevice() as pretend:
        yield pretend


WAITS = {
    "item": lambda x: x[0].item(),
    "tolist": lambda x: x.tolist(),
    "nonzero": lambda x: x.nonzero(),
    "unique": lambda x: x.unique(),
    "equal": lambda x: x.equal(x),
    "mask": lambda x: x[x > 1],
    "indices on the host": lambda x: x[torch.tensor([1, 0])],
    "lengths": lambda x: torch.repeat_interleave(x, x),
    "to host": lambda x: x.cpu(),
    "from host": lambda x: torch.ones(3).to(x.device),
    "a list": lambda x: torch.tensor([1.0], device=x.device),
}
NO_WAITS = {
    "arithmetic": lambda x: x * x + 1,
    "number on the host": lambda x: x * torch.tensor(2),
    "indices": lambda x: x[x - 1],
    "filling a mask": lambda x: x.masked_fill_(x > 1, 0),
    "known size": lambda x: torch.repeat_interleave(x, x, output_size=6),
    "from pinned memory": lambda x: torch.ones(3).pin_memory().to(x.device, non_blocking=True),
}


@pytest.mark.parametrize("case", WAITS | NO_WAITS)
def test_waits_are_counted(case, pretend):
    x = torch.tensor([1, 2, 3]).to(pretend.device)
    pretend.reset()
    (WAITS | NO_WAITS)[case](x)
    assert sum(pretend.waits.values()) == (case in WAITS)


def test_operations_are_counted_and_views_are_not(pretend):
    x = torch.ones(4, 4, device=pretend.device)
    pretend.reset()
    (x[1:].T.unsqueeze(0) + 1).sum()
    assert sorted(name for name, _ in pretend.operations) == ["add.Tensor", "sum.default"]


def test_copies_from_the_host_are_counted(pretend):
    torch.empty(3, device=pretend.device).copy_(torch.ones(3))
    torch.ones(3).to(pretend.device)
    assert sum(pretend.copies.values()) == 2


@pytest.mark.parametrize(
    "mix",
    [
        lambda x: x + torch.ones(3),
        lambda x: torch.cat([x, torch.ones(3)]),
        lambda x: torch.ones(3)[x.long()],
        lambda x: torch.rand(3, device=x.device, generator=torch.Generator()),
        lambda x: x.numpy(),
    ],
)
def test_devices_do_not_mix(mix, pretend):
    with pytest.raises((RuntimeError, TypeError)):
        mix(torch.ones(3, device=pretend.device))


def test_what_has_no_deterministic_implementation_on_a_gpu_is_refused(pretend):
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    with pytest.raises(RuntimeError, match="deterministic"):
        torch.ones(3, device=pretend.device).cumsum(0)
    torch.ones(3, dtype=torch.int64, device=pretend.device).cumsum(0)
    torch.use_deterministic_algorithms(before)
