"""What tests of training share: small settings, a tiny state to step, and comparisons of states."""

from dataclasses import replace

import pytest
import torch

from recsys.model.feature_tensors import FeatureRows
from recsys.model.model_spec import ModelSpec
from recsys.model.two_tower import TwoTower
from training import validation
from training.checkpoints import checkpoint
from training.loop import train
from training.state import TrainingState

TINY = {
    "model": {"embedding_dim": 16, "num_layers": 1, "dropout": 0.1},
    "loss": {"num_negatives": 32},
    "training": {"batch_tokens": 256, "epochs": 3, "learning_rate": 0.01, "average_decay": 0.9, "device": "cpu"},
}


SPEC = ModelSpec(
    num_rows=6, item_transforms=(), user_transforms=(), embedding_dim=4, num_members=1,
    history_encoder="transformer", own_vectors=False, similarity="dot", num_layers=1, num_heads=1, max_history=4,
    dropout=0.0, id_dropout=0.0,
    user_dropout=0.0, temperature=0.5, learn_temperature=True,
)  # fmt: skip


def make_state(seed=0, *, weight_decay=0.01, average_decay=0.9, **changes):
    """The state of a training of a model with six item rows."""
    torch.manual_seed(seed)
    return TrainingState(TwoTower(replace(SPEC, **changes)), 0.01, weight_decay, average_decay)


def loss_of(state, scale=1.0):
    """A loss that depends on every weight of the state's model."""
    items = state.model.encode_items(torch.arange(6), FeatureRows(None, None))
    users = state.model.encode_users(items[1:].unsqueeze(0), torch.tensor([5]), FeatureRows(None, None))
    return scale * ((users @ items.T - 1) ** 2).mean() + state.model.log_temperature


def copied_weights(state):
    return {name: weight.clone() for name, weight in state.whole().items()}


def assert_same_tensors(first, second):
    assert first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name], second[name]), name


def changed(config, **sections):
    """The config with some settings changed."""
    return config.model_copy(
        update={name: getattr(config, name).model_copy(update=values) for name, values in sections.items()}
    )


def read(path, config, dataset):
    """The checkpoint at ``path``, with the seconds of its epochs, which depend on the machine, set to 0."""
    state = checkpoint.load(path, checkpoint.Identity.of(config, dataset))
    assert all(epoch.seconds > 0 for epoch in state.progress.epochs)
    timeless = tuple(replace(epoch, seconds=0.0) for epoch in state.progress.epochs)
    return replace(state, progress=replace(state.progress, epochs=timeless))


def assert_same_training(first, second, config, dataset):
    """The run folders hold the same bits."""
    for name in ("model.safetensors", "checkpoint.safetensors"):
        one, other = (read(out / name, config, dataset) for out in (first, second))
        assert one.progress == other.progress
        assert_same_tensors(one.tensors, other.tensors)


class StopError(Exception):
    """Ends a training in the middle."""


def train_until(config, dataset, out, epoch, *, times=1):
    """Train, and stop right after an epoch; with ``times=2``, after that epoch of the refit."""
    results = []

    def stop(result):
        results.extend([result] if result.epoch == epoch else [])
        if len(results) == times:
            raise StopError

    with pytest.raises(StopError):
        train(config, dataset, out, on_epoch=stop)


def validate_to(scores, monkeypatch):
    """Let the epochs that follow have these validation scores."""
    remaining = iter(scores)
    monkeypatch.setattr(validation, "score", lambda *_: next(remaining))
