from dataclasses import replace

import pytest
import torch

from recsys.model.feature_tensors import FeatureRows
from recsys.model.model_spec import ModelSpec
from recsys.model.two_tower import TwoTower
from training import checkpoint
from training.state import TrainingState

IDENTITY = checkpoint.Identity("d", "s", "adamw")
FIGURES = {"loss": 1.0, "seconds": 2.0, "tokens": 3}
SPEC = ModelSpec(
    num_rows=6, item_transforms=(), user_transforms=(), embedding_dim=4, num_members=1, history="transformer",
    own_vectors=False, similarity="dot", num_layers=1, num_heads=1, max_history=4, dropout=0.0, id_dropout=0.0,
    user_dropout=0.0, temperature=0.5, learn_temperature=True,
)  # fmt: skip
ROWS = torch.arange(6)


def make(seed=0, *, weight_decay=0.01, average_decay=0.9, **changes):
    torch.manual_seed(seed)
    return TrainingState(TwoTower(replace(SPEC, **changes)), 0.01, weight_decay, average_decay)


def loss_of(state, scale=1.0):
    items = state.model.encode_items(ROWS, FeatureRows(None, None))
    users = state.model.encode_users(items[1:].unsqueeze(0), torch.tensor([5]), FeatureRows(None, None))
    return scale * ((users @ items.T - 1) ** 2).mean() + state.model.log_temperature


def weights(state):
    return {name: weight.detach().clone() for name, weight in state.weights.items()}


def assert_same(first, second):
    assert first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name], second[name]), name


def test_the_step_is_adamw_and_a_running_average():
    state = make()
    weight = state.weights["item_towers.0.ids.embeddings.item.weight"]
    reference = torch.nn.Parameter(weight.detach().clone())
    optimizer = torch.optim.AdamW([reference], lr=0.01, weight_decay=0.01)
    average = reference.detach().clone().double()
    for step in range(1, 15):
        loss = loss_of(state)
        (gradient,) = torch.autograd.grad(loss, weight, retain_graph=True)
        reference.grad = gradient
        optimizer.step()
        state.step(loss)
        torch.testing.assert_close(weight, reference)
        decay = min(0.9, (1 + step) / (10 + step))  # early weights are soon forgotten
        average = decay * average + (1 - decay) * reference.detach().double()
        found = state.average["item_towers.0.ids.embeddings.item.weight"]
        torch.testing.assert_close(found.double(), average, rtol=1e-5, atol=1e-7)
    assert state.progress.steps == 14
    assert (average - reference).abs().max() > 1e-4


def test_a_learned_temperature_does_not_decay():
    """Decay would pull its logarithm to 0, whatever the data say."""
    state = make(weight_decay=1.0)
    rows = state.weights["item_towers.0.ids.embeddings.item.weight"]
    before, temperature = rows.detach().norm(), state.model.log_temperature.item()
    for _ in range(20):
        state.step(0.0 * loss_of(state))
    assert state.model.log_temperature.item() == temperature
    torch.testing.assert_close(rows.detach().norm(), before * (1 - 0.01) ** 20)


def test_a_fixed_temperature_is_no_parameter():
    assert "log_temperature" not in make(learn_temperature=False).weights
    assert "log_temperature" in make().weights


def test_averaged_leaves_the_weights_alone():
    state = make(learn_temperature=False)
    for _ in range(3):
        state.step(loss_of(state))
    before = weights(state)
    averaged = state.averaged()
    assert_same(weights(state), before)
    assert averaged.keys() == state.model.state_dict().keys()  # a plain model can load it
    for name, value in state.average.items():
        assert torch.equal(averaged[name], value)
        assert not torch.equal(averaged[name], before[name])
    kept = {name: value.clone() for name, value in averaged.items()}
    state.step(loss_of(state))
    assert_same(averaged, kept)  # a copy, not a view


def test_the_best_weights_are_kept():
    state = make()
    state.step(loss_of(state))
    first = state.averaged()
    assert state.record(first, score=0.5, **FIGURES).best
    state.step(loss_of(state))
    second = state.averaged()
    assert not state.record(second, score=0.5, **FIGURES).best  # no better
    assert not state.record(second, score=float("nan"), **FIGURES).best
    assert_same(state.best, first)
    assert (state.progress.best_epoch, state.progress.best_score) == (1, 0.5)
    assert state.record(second, score=0.6, **FIGURES).best
    assert_same(state.best, second)
    assert [result.epoch for result in state.progress.epochs] == [1, 2, 3, 4]


@pytest.mark.parametrize("steps", [0, 3])
def test_a_restored_state_goes_on_with_the_same_bits(tmp_path, steps):
    path = tmp_path / "state.safetensors"
    state, other = make(), make(seed=1)
    for _ in range(steps):
        state.step(loss_of(state))
    averaged = state.averaged()
    state.record(averaged, score=0.4, **FIGURES)
    checkpoint.save(path, checkpoint.snapshot(state, averaged, IDENTITY))
    checkpoint.restore(other, checkpoint.load(path, IDENTITY))
    for each in (state, other):
        for _ in range(4):
            each.step(loss_of(each))
    assert_same(weights(other), weights(state))
    assert_same(other.average, state.average)
    assert_same(other.best, state.best)
    assert other.progress == state.progress
    for name, weight in state.weights.items():
        assert_same(dict(other.optimizer.state[other.weights[name]]), dict(state.optimizer.state[weight]))


def test_another_training_is_refused_and_changes_nothing(tmp_path):
    path = tmp_path / "state.safetensors"
    state = make()
    checkpoint.save(path, checkpoint.snapshot(state, state.averaged(), IDENTITY))
    other = make(seed=1)
    before = weights(other)
    with pytest.raises(ValueError, match="settings"):
        checkpoint.restore(other, checkpoint.load(path, replace(IDENTITY, settings="changed")))
    assert_same(weights(other), before)
