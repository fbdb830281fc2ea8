"""What tests of a training share: small settings, and states to compare."""

from dataclasses import replace

import pytest
import torch

from training import checkpoint, validation
from training.loop import train

TINY = {
    "model": {"embedding_dim": 16, "num_layers": 1, "dropout": 0.1},
    "loss": {"num_negatives": 32},
    "training": {"batch_tokens": 256, "epochs": 3, "learning_rate": 0.01, "average_decay": 0.9, "device": "cpu"},
}


def changed(config, **sections):
    """The config with some settings changed."""
    return config.model_copy(
        update={name: getattr(config, name).model_copy(update=values) for name, values in sections.items()}
    )


def read(path, config, dataset):
    """The state at ``path``: tensors, and progress without the seconds, which belong to the clock."""
    state = checkpoint.load(path, checkpoint.Identity.of(config, dataset))
    assert all(epoch.seconds > 0 for epoch in state.progress.epochs)
    timeless = tuple(replace(epoch, seconds=0.0) for epoch in state.progress.epochs)
    return replace(state, progress=replace(state.progress, epochs=timeless))


def assert_same_training(first, second, config, dataset):
    for name in ("model.safetensors", "checkpoint.safetensors"):
        one, other = (read(out / name, config, dataset) for out in (first, second))
        assert one.progress == other.progress
        assert one.tensors.keys() == other.tensors.keys()
        for key in one.tensors:
            assert torch.equal(one.tensors[key], other.tensors[key]), (name, key)


class StopError(Exception):
    """What ends a training in the middle."""


def train_until(config, dataset, out, epoch, *, times=1):
    """Train as ``config`` says, and stop right after an epoch; with a refit, it comes twice."""
    results = []

    def stop(result):
        results.extend([result] if result.epoch == epoch else [])
        if len(results) == times:
            raise StopError

    with pytest.raises(StopError):
        train(config, dataset, out, on_epoch=stop)


def scores_of(values, monkeypatch):
    given = iter(values)
    monkeypatch.setattr(validation, "score", lambda *_: next(given))
