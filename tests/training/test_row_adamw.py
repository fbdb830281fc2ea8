"""The oracle is torch's AdamW on the whole table, with a running average of the whole table."""

import numpy as np
import pytest
import torch

from recsys.model import EmbeddingTable
from tests.pretend_device import PretendDevice
from training.row_adamw import RowAdamW

NUM_ROWS, DIM = 40, 5


def run(steps, device, *, weight_decay=0.0, settle_every=None, start=0.1):
    """Both optimizers over the same seeded steps; returns (actual, expected) weights and averages, float64."""
    rng, generator = np.random.default_rng(0), torch.Generator().manual_seed(0)
    table = EmbeddingTable(NUM_ROWS, DIM)
    torch.nn.init.normal_(table.weight, std=start, generator=generator)
    dense = torch.nn.Parameter(table.weight.detach().double().clone())
    average = dense.detach().clone()
    reference = torch.optim.AdamW([dense], lr=1.0, weight_decay=weight_decay)
    table.to(device)
    actual = RowAdamW({"table": table}, device)
    for step in range(1, steps + 1):
        learning_rate = 0.01 * (1.0 if step < steps * 0.6 else 0.3)
        decay = min(0.99, (1 + step) / (10 + step))
        rows = torch.from_numpy(np.flatnonzero(rng.random(NUM_ROWS) < np.linspace(0.0, 0.5, NUM_ROWS)))
        gradient = torch.randn(len(rows), DIM, generator=generator) * 10.0 ** torch.randint(
            -3, 1, (len(rows), 1), generator=generator
        )
        (table.train()(rows.to(device)) * gradient.to(device)).sum().backward()
        actual.step(learning_rate, weight_decay, decay)
        dense.grad = torch.zeros_like(dense)
        dense.grad[rows] = gradient.double()
        reference.param_groups[0]["lr"] = learning_rate
        reference.step()
        average.lerp_(dense.detach(), 1 - decay)
        if settle_every is not None and step % settle_every == 0:
            actual.settle()
    actual.settle()
    state = actual.store
    return (state.weight.cpu().double(), dense.detach()), (state.average.cpu().double(), average)


@pytest.mark.parametrize("settings", [
    {"steps": 60}, {"steps": 1500}, {"steps": 300, "weight_decay": 0.5}, {"steps": 200, "settle_every": 7},
])  # fmt: skip
def test_rows_are_stepped_as_the_whole_table_would_be(settings):
    compare(settings, torch.device("cpu"))


def test_so_they_are_on_a_device_by_a_fused_step():
    with PretendDevice() as pretend:
        compare({"steps": 60, "weight_decay": 0.5, "settle_every": 25}, pretend.device)


def compare(settings, device):
    for actual, expected in run(device=device, **settings):
        assert (actual - expected).abs().max() < 4e-5 * max(1, settings["steps"] / 200)
        assert (actual - expected).abs().mean() < 1e-6 * max(1, settings["steps"] / 50)
