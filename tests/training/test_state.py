from types import SimpleNamespace

import pytest
import torch

from recsys.errors import InputError
from recsys.model.two_tower import TwoTower
from tests.small_trainings import SPEC, assert_same_tensors, copied_weights, loss_of, make_state

TABLE = "item_tower.ids.embeddings.item.weight"


def test_a_step_is_adamw_and_moves_the_running_average():
    state = make_state()
    reference = TwoTower(SPEC)
    reference.load_state_dict(state.whole())
    groups = [
        {"params": [weight for name, weight in reference.named_parameters() if name != "log_temperature"]},
        {"params": [reference.log_temperature], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=0.01, weight_decay=0.01)
    average = {name: weight.detach().double() for name, weight in reference.named_parameters()}
    for step in range(1, 15):
        optimizer.zero_grad()
        loss_of(SimpleNamespace(model=reference)).backward()
        optimizer.step()
        state.step(loss_of(state))
        decay = min(0.9, (1 + step) / (10 + step))  # early weights are soon forgotten
        for name, weight in reference.named_parameters():
            torch.testing.assert_close(state.whole()[name], weight.detach())
            average[name] = decay * average[name] + (1 - decay) * weight.detach().double()
            torch.testing.assert_close(state.whole_average()[name].double(), average[name], rtol=1e-5, atol=1e-7)
    assert state.progress.steps == 14
    assert (average[TABLE] - reference.item_tower.ids.embeddings["item"].weight).abs().max() > 1e-4


def test_a_learned_temperature_does_not_decay():
    """Decay would pull its logarithm to 0, whatever the data."""
    state = make_state(weight_decay=1.0)
    rows = state.model.item_tower.ids.embeddings["item"].weight
    before, temperature = rows.detach().norm(), state.model.log_temperature.item()
    for _ in range(20):
        state.step(0.0 * loss_of(state))
    assert state.model.log_temperature.item() == temperature
    torch.testing.assert_close(rows.detach().norm(), before * (1 - 0.01) ** 20)


def test_only_a_learned_temperature_is_trained():
    assert "log_temperature" not in make_state(learn_temperature=False).average
    assert "log_temperature" in make_state().average


def test_evaluating_the_average_leaves_the_training_alone():
    state, undisturbed = make_state(learn_temperature=False), make_state(learn_temperature=False)
    for _ in range(3):
        state.step(loss_of(state))
        undisturbed.step(loss_of(undisturbed))
    before, average = copied_weights(state), {name: value.clone() for name, value in state.whole_average().items()}
    with state.averaged_model() as model:
        assert not model.training
        for name, value in average.items():
            assert torch.equal(model.state_dict()[name], value)
            assert not torch.equal(before[name], value)
    assert state.model.training
    assert_same_tensors(copied_weights(state), before)
    for training in (state, undisturbed):
        training.step(loss_of(training))
    assert_same_tensors(copied_weights(state), copied_weights(undisturbed))


def test_an_epoch_is_the_mean_of_its_steps():
    state = make_state()
    losses = []
    for _ in range(3):
        state.model.eval()
        losses.append(loss_of(state).item())
        state.model.train()
        state.step(loss_of(state))
        state.count(tokens=7, seconds=0.5)
    with state.averaged_model():
        result = state.finish_epoch(0.25)
    assert result.loss == pytest.approx(sum(losses) / 3)
    assert (result.epoch, result.score, result.tokens, result.seconds, result.best) == (1, 0.25, 21, 1.5, True)
    assert state.loss == 0.0


def test_a_loss_that_is_not_finite_is_found_before_anything_is_kept():
    state = make_state()
    state.step(loss_of(state, scale=float("nan")))
    with pytest.raises(InputError, match=r"lower training\.learning_rate"), state.averaged_model():
        pass
    with pytest.raises(InputError, match=r"lower training\.learning_rate"):
        state.progress_now()
