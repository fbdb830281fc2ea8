import os
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from training.checkpoint import Checkpoint, Identity, grouped, load, save
from training.learning_curve import Progress

IDENTITY = Identity("d1", "s1", "adamw")


def make(value=1.0):
    rows = torch.arange(6.0).view(2, 3)
    tensors = grouped(model={"a.weight": rows.T, "b": torch.tensor(value)}, average={"b": torch.tensor(2.0)})
    progress = Progress(40).after(loss=0.1 + 0.2, score=1 / 3, seconds=0.7, tokens=9)
    return Checkpoint(tensors, progress, IDENTITY)


def test_round_trip_is_exact(tmp_path):
    save(tmp_path / "c.safetensors", make())
    loaded = load(tmp_path / "c.safetensors", IDENTITY)
    assert loaded.progress == make().progress
    assert loaded.identity == IDENTITY
    assert loaded.tensors.keys() == make().tensors.keys() == {"model.a.weight", "model.b", "average.b"}
    assert all(torch.equal(loaded.tensors[name], value) for name, value in make().tensors.items())
    assert loaded.group("average").keys() == {"b"}
    assert loaded.group("model").keys() == {"a.weight", "b"}
    assert loaded.group("mod") == {}


def test_groups_are_copies():
    weight = torch.ones(2, requires_grad=True)
    stored = grouped(model={"w": weight})["model.w"]
    with torch.no_grad():
        weight += 1
    assert stored.tolist() == [1.0, 1.0]
    assert not stored.requires_grad


@pytest.mark.parametrize("key", ["dataset", "settings", "table_optimizer"])
def test_another_training_is_refused_by_name(tmp_path, key):
    save(tmp_path / "c.safetensors", make())
    with pytest.raises(ValueError, match=rf"{key} = '{getattr(IDENTITY, key)}', this training has 'other'.*--out"):
        load(tmp_path / "c.safetensors", replace(IDENTITY, **{key: "other"}))


def test_a_damaged_state_is_one_line(tmp_path):
    save(tmp_path / "c.safetensors", make())
    whole = (tmp_path / "c.safetensors").read_bytes()
    save_file({"a": torch.ones(1)}, tmp_path / "foreign.safetensors")
    for content in (b"", whole[:50], whole[:-1], (tmp_path / "foreign.safetensors").read_bytes()):
        (tmp_path / "c.safetensors").write_bytes(content)
        with pytest.raises(ValueError, match=r"checkpoint .* is damaged .*; remove it, or train into another --out"):
            load(tmp_path / "c.safetensors", IDENTITY)


def test_a_killed_writer_leaves_the_old_state(tmp_path, monkeypatch):
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
