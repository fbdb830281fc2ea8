import torch

from tests.small_trainings import FIGURES, assert_same_tensors, copied_weights, loss_of, make_state


def test_a_step_is_adamw_and_moves_the_running_average():
    state = make_state()
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
        averaged = state.average["item_towers.0.ids.embeddings.item.weight"]
        torch.testing.assert_close(averaged.double(), average, rtol=1e-5, atol=1e-7)
    assert state.progress.steps == 14
    assert (average - reference).abs().max() > 1e-4


def test_a_learned_temperature_does_not_decay():
    """Decay would pull its logarithm to 0, whatever the data."""
    state = make_state(weight_decay=1.0)
    rows = state.weights["item_towers.0.ids.embeddings.item.weight"]
    before, temperature = rows.detach().norm(), state.model.log_temperature.item()
    for _ in range(20):
        state.step(0.0 * loss_of(state))
    assert state.model.log_temperature.item() == temperature
    torch.testing.assert_close(rows.detach().norm(), before * (1 - 0.01) ** 20)


def test_only_a_learned_temperature_is_trained():
    assert "log_temperature" not in make_state(learn_temperature=False).weights
    assert "log_temperature" in make_state().weights


def test_averaging_leaves_the_trained_weights_alone():
    state = make_state(learn_temperature=False)
    for _ in range(3):
        state.step(loss_of(state))
    before = copied_weights(state)
    averaged = state.averaged()
    assert_same_tensors(copied_weights(state), before)
    assert averaged.keys() == state.model.state_dict().keys()  # a plain model can load it
    for name, value in state.average.items():
        assert torch.equal(averaged[name], value)
        assert not torch.equal(averaged[name], before[name])
    kept = {name: value.clone() for name, value in averaged.items()}
    state.step(loss_of(state))
    assert_same_tensors(averaged, kept)  # a copy, not a view


def test_the_weights_of_the_best_epoch_are_kept():
    state = make_state()
    state.step(loss_of(state))
    first = state.averaged()
    assert state.record(first, score=0.5, **FIGURES).best
    state.step(loss_of(state))
    second = state.averaged()
    assert not state.record(second, score=0.5, **FIGURES).best  # no better
    assert not state.record(second, score=float("nan"), **FIGURES).best
    assert_same_tensors(state.best, first)
    assert (state.progress.best_epoch, state.progress.best_score) == (1, 0.5)
    assert state.record(second, score=0.6, **FIGURES).best
    assert_same_tensors(state.best, second)
    assert [result.epoch for result in state.progress.epochs] == [1, 2, 3, 4]
