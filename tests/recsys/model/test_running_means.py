import pytest
import torch

from recsys.model.running_means import weighted_means
from tests.pretend_device import PretendDevice

HORIZONS = (1, 2, 5)
LAST = torch.tensor([3, 0, 8])


@pytest.fixture(params=["cpu", "pretend"])
def device(request):
    with PretendDevice() as pretend:
        yield pretend.device if request.param == "pretend" else torch.device("cpu")


def plain_means(x_KBLD, weight_KHD):
    length = x_KBLD.shape[2]
    means = [
        torch.stack([x_KBLD[:, :, max(0, end - horizon) : end].mean(dim=2) for end in range(1, length + 1)], dim=2)
        for horizon in (*HORIZONS, length)
    ]
    weights = weight_KHD[:, :, None, None].unbind(1)
    return sum(weight_K11D * mean_KBLD for weight_K11D, mean_KBLD in zip(weights, means, strict=True))


@pytest.mark.parametrize("shape", [(3, 2, 9, 4), (2, 3, 1, 2), (1, 2, 70, 3)])
def test_values_and_gradients_are_those_of_the_plain_formula(shape, device):
    torch.manual_seed(0)
    leaves = [torch.randn(size, dtype=torch.float64, requires_grad=True) for size in (shape, (shape[0], 4, shape[3]))]
    moved = [leaf.detach().to(device).requires_grad_() for leaf in leaves]
    means, expected = weighted_means(*moved, HORIZONS), plain_means(*leaves)
    torch.testing.assert_close(means.cpu(), expected, rtol=1e-12, atol=1e-12)
    expected_gradients = torch.autograd.grad(expected.sin().sum(), leaves)
    for gradient, value in zip(torch.autograd.grad(means.sin().sum(), moved), expected_gradients, strict=True):
        torch.testing.assert_close(gradient.cpu(), value, rtol=1e-10, atol=1e-12)


def test_the_last_means_are_those_of_each_history_s_last_event(device):
    torch.manual_seed(0)
    x, weight = torch.randn(2, 3, 9, 4).to(device), torch.randn(2, 4, 4).to(device)
    last = weighted_means(x, weight, HORIZONS, LAST.to(device))
    every = weighted_means(x, weight, HORIZONS)
    torch.testing.assert_close(last.cpu().squeeze(2), every.cpu()[:, torch.arange(3), LAST], rtol=1e-5, atol=1e-5)
