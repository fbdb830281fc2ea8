import torch

from recsys.model.transformer import HORIZONS, Block, MovingAverages, rotation

D = 8


def test_moving_averages_are_means_of_the_last_events():
    averages, length = MovingAverages(D).double(), 100
    torch.nn.init.normal_(averages.weight)
    x_BLD = torch.randn(2, length, D, dtype=torch.float64)
    sums = averages(x_BLD)
    last = torch.tensor([70, 5])
    torch.testing.assert_close(averages(x_BLD, last), sums[torch.arange(2), last].unsqueeze(1))
    for event in (0, 1, 2, 5, 70, 99):
        means = [x_BLD[:, max(0, event + 1 - horizon) : event + 1].mean(dim=1) for horizon in (*HORIZONS, length)]
        expected = sum(weight * mean for weight, mean in zip(averages.weight, means, strict=True))
        torch.testing.assert_close(sums[:, event], expected, rtol=1e-12, atol=1e-12)
        alone = averages(x_BLD, torch.tensor([event, event])).squeeze(1)
        torch.testing.assert_close(alone, expected, rtol=1e-12, atol=1e-12)


def test_a_block_has_gradients_under_bfloat16_autocast():
    """As on a GPU, where linear layers return bfloat16 and norms float32."""
    torch.manual_seed(0)
    block, x_BLD = Block(16, 2, 0.1), torch.randn(2, 9, 16, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        block(x_BLD, rotation(9, 8, torch.float32, torch.device("cpu"))).sum().backward()
    gradients = [x_BLD.grad, *(weight.grad for weight in block.parameters())]
    assert all(torch.isfinite(gradient).all() and gradient.any() for gradient in gradients)
