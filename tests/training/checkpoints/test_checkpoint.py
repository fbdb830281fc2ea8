import os
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from tests.small_trainings import assert_same_tensors, changed, copied_weights, loss_of, make_state
from training.checkpoints.checkpoint import Checkpoint, Identity, grouped, load, restore, save, snapshot
from training.learning_curve import Progress

IDENTITY = Identity("d1", "s1", "adamw")


def make(value=1.0):
    rows = torch.arange(6.0).view(2, 3)
    tensors = grouped(model={"a.weight": rows.T, "b": torch.tensor(value)}, average={"b": torch.tensor(2.0)})
    progress = Progress(40).after(loss=0.1 + 0.2, score=1 / 3, seconds=0.7, tokens=9)
    return Checkpoint(tensors, progress, IDENTITY)


def test_a_saved_checkpoint_is_read_exactly(tmp_path):
    save(tmp_path / "c.safetensors", make())
    loaded = load(tmp_path / "c.safetensors", IDENTITY)
    assert loaded.progress == make().progress
    assert loaded.identity == IDENTITY
    assert loaded.tensors.keys() == make().tensors.keys() == {"model.a.weight", "model.b", "average.b"}
    assert all(torch.equal(loaded.tensors[name], value) for name, value in make().tensors.items())
    assert loaded.group("average").keys() == {"b"}
    assert loaded.group("model").keys() == {"a.weight", "b"}
    assert loaded.group("mod") == {}


@pytest.mark.parametrize("key", ["dataset", "settings", "table_optimizer"])
def test_a_checkpoint_of_another_training_is_refused_and_what_differs_is_named(tmp_path, key):
    save(tmp_path / "c.safetensors", make())
    with pytest.raises(ValueError, match=rf"{key} = '{getattr(IDENTITY, key)}', this training has 'other'.*--out"):
        load(tmp_path / "c.safetensors", replace(IDENTITY, **{key: "other"}))


def test_a_damaged_checkpoint_is_an_error_of_one_line(tmp_path):
    save(tmp_path / "c.safetensors", make())
    whole = (tmp_path / "c.safetensors").read_bytes()
    save_file({"a": torch.ones(1)}, tmp_path / "foreign.safetensors")
    for content in (b"", whole[:50], whole[:-1], (tmp_path / "foreign.safetensors").read_bytes()):
        (tmp_path / "c.safetensors").write_bytes(content)
        with pytest.raises(ValueError, match=r"checkpoint .* is damaged .*; remove it, or train into another --out"):
            load(tmp_path / "c.safetensors", IDENTITY)


def test_a_checkpoint_of_another_release_is_refused(tmp_path):
    path = tmp_path / "c.safetensors"
    save(path, make())
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    for written in (metadata | {"format": "1"}, {key: metadata[key] for key in ("progress", "identity")}):
        save_file(make().tensors, path, metadata=written)
        for identity in (IDENTITY, None):
            with pytest.raises(ValueError, match=r"written by another release; .* into another --out"):
                load(path, identity)


@pytest.mark.parametrize("key", ["identity", "progress"])
@pytest.mark.parametrize("written", ["", "[1]", "{}", "nothing", "null"])
def test_a_checkpoint_whose_description_is_none_is_damaged(tmp_path, key, written):
    path = tmp_path / "c.safetensors"
    save(path, make())
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    save_file(make().tensors, path, metadata=metadata | {key: written})
    with pytest.raises(ValueError, match=r"checkpoint .* is damaged .*; remove it, or train into another --out"):
        load(path, IDENTITY)


def test_a_killed_writer_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "c.safetensors"
    save(path, make(1.0))
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        save(path, make(5.0))
    monkeypatch.undo()
    assert load(path, IDENTITY).tensors["model.b"] == 1.0
    (tmp_path / ".c.safetensors.partial").write_bytes(b"what a SIGKILL leaves")
    save(path, make(5.0))
    assert load(path, IDENTITY).tensors["model.b"] == 5.0
    assert [member.name for member in tmp_path.iterdir()] == ["c.safetensors"]


@pytest.mark.parametrize("steps", [0, 3, 1_100])
@pytest.mark.parametrize("in_epoch", [False, True])
def test_a_restored_state_goes_on_with_the_same_bits(tmp_path, steps, in_epoch):
    path = tmp_path / "state.safetensors"
    state, other = make_state(), make_state(seed=1)
    for _ in range(steps):
        state.step(loss_of(state))
    if in_epoch:
        state.count(tokens=3, seconds=0.1)
    save(path, snapshot(state, IDENTITY))
    restore(other, load(path, IDENTITY))
    for training in (state, other):
        for _ in range(4):
            training.step(loss_of(training))
    assert_same_tensors(copied_weights(other), copied_weights(state))
    one, two = (snapshot(training, IDENTITY) for training in (state, other))
    assert_same_tensors(one.tensors, two.tensors)
    assert one.progress == two.progress


def test_a_refused_checkpoint_changes_nothing(tmp_path):
    path = tmp_path / "state.safetensors"
    state = make_state()
    save(path, snapshot(state, IDENTITY))
    other = make_state(seed=1)
    before = copied_weights(other)
    with pytest.raises(ValueError, match="settings"):
        restore(other, load(path, replace(IDENTITY, settings="changed")))
    assert_same_tensors(copied_weights(other), before)


def test_epochs_patience_and_device_may_change_between_two_trainings(small):
    config, dataset = small
    identity = Identity.of(config, dataset)
    assert identity.dataset == dataset.digest
    for values in ({"epochs": 9}, {"patience": 1}, {"device": "auto"}):
        assert Identity.of(changed(config, training=values), dataset) == identity
    assert Identity.of(changed(config, training={"seed": 7}), dataset).settings != identity.settings
    assert Identity.of(changed(config, training={"table_optimizer": "rowwise_adagrad"}), dataset) != identity
