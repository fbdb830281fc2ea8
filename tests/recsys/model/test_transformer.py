import torch

from recsys.model.kernels import rotation
from recsys.model.transformer import HORIZONS, Block, MovingAverages

D = 8


def test_moving_averages_are_means_of_the_last_events():
    averages, length = MovingAverages(3, D).double(), 100
    torch.nn.init.normal_(averages.weight)
    x_KBLD = torch.randn(3, 2, length, D, dtype=torch.float64)
    sums = averages(x_KBLD)
    last = torch.tensor([70, 5])
    torch.testing.assert_close(averages(x_KBLD, last), sums[:, torch.arange(2), last].unsqueeze(2))
    for event in (0, 1, 2, 5, 70, 99):
        means = [x_KBLD[:, :, max(0, event + 1 - horizon) : event + 1].mean(dim=2) for horizon in (*HORIZONS, length)]
        weights = averages.weight.unsqueeze(2).unbind(1)
        expected = sum(weight * mean for weight, mean in zip(weights, means, strict=True))
        torch.testing.assert_close(sums[:, :, event], expected, rtol=1e-12, atol=1e-12)
        alone = averages(x_KBLD, torch.tensor([event, event])).squeeze(2)
        torch.testing.assert_close(alone, expected, rtol=1e-12, atol=1e-12)


def test_a_block_has_gradients_under_bfloat16_autocast():
    """As on a GPU, where linear layers return bfloat16 and norms float32."""
    torch.manual_seed(0)
    block, x_KBLD = Block(3, 16, 2, 0.1), torch.randn(3, 2, 9, 16, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        block(x_KBLD, rotation(9, 8, torch.float32, torch.device("cpu"))).sum().backward()
    gradients = [x_KBLD.grad, *(weight.grad for weight in block.parameters())]
    assert all(torch.isfinite(gradient).all() and gradient.any() for gradient in gradients)
