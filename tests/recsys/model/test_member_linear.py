"""Members computed as one product are the layers they stand for."""

import torch

from recsys.model.member_linear import MemberLinear


def test_every_member_is_an_ordinary_linear_layer():
    torch.manual_seed(0)
    together = MemberLinear(3, 4, 5)
    inputs = torch.randn(3, 2, 7, 4)
    outputs = together(inputs)
    assert outputs.shape == (3, 2, 7, 5)
    for member in range(3):
        alone = torch.nn.Linear(4, 5)
        alone.weight.data = together.weight.data[member]
        alone.bias.data = together.bias.data[member]
        torch.testing.assert_close(outputs[member], alone(inputs[member]))
