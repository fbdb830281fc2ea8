"""One process and two train the same model; the item table is really cut; what is saved is whole."""

import os
import subprocess
import sys

import polars as pl
import pytest
import torch

from features.build import build
from recsys.config import parse_config
from recsys.files import read_json
from recsys.model.two_tower import TwoTower
from training import loop
from training.checkpoints import checkpoint
from training.recipe import resolve
from training.sharding import dense_weights, gather_state, gather_table_optimizer, process_group, scatter_state, shard

CPU = torch.device("cpu")
ADAGRAD = "rowwise_adagrad"
SHAPES = """
import sys, torch
from recsys.config import Config
from recsys.data import Dataset
from recsys.model import TwoTower
from training.recipe import resolve
from training.sharding import gather_state, process_group, shard
from pathlib import Path
dataset = Dataset.open(Path(sys.argv[1]))
torch.manual_seed(0)
model = TwoTower(resolve(dataset.config, dataset.encoder, dataset.train()[1]).model, torchrec=True)
before = {name: value.clone() for name, value in model.state_dict().items()}
with process_group("rowwise_adagrad", torch.device("cpu")) as world:
    sharded = shard(model, "rowwise_adagrad", 1e-3, torch.device("cpu"))
    rows = dict(sharded.named_parameters())["item_tower.ids.embeddings.item.weight"].shape[0]
    after = gather_state(sharded)
    same = all(torch.equal(before[name], after[name]) for name in before)
    sys.stdout.write(f"rank={world.rank} rows={rows} same={same}\\n")
"""


def torchrun(*arguments):
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False,
                          env=os.environ | {"OMP_NUM_THREADS": "1"})  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_sharding_in_one_process_keeps_the_weights(small_run):
    torch.manual_seed(0)
    recipe = resolve(small_run.config, small_run.dataset.encoder, small_run.dataset.train()[1])
    model = TwoTower(recipe.model, torchrec=True)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with process_group(ADAGRAD, CPU) as world:
        assert world.sharded
        sharded = shard(model, ADAGRAD, 1e-3, CPU)
        after = gather_state(sharded)
        assert {name: value.shape for name, value in after.items()} == {n: v.shape for n, v in before.items()}
        assert all(torch.equal(after[name], before[name]) for name in before)
        assert not any("embeddings" in name or "embedding_bags" in name for name in dense_weights(sharded))
        assert {name.split("/")[-1] for name in gather_table_optimizer(sharded)} >= {"item.momentum1"}
        scatter_state(sharded, {name: value + 1 for name, value in before.items()})
        assert all(torch.equal(value, before[name] + 1) for name, value in gather_state(sharded).items())


def test_a_model_with_plain_tables_is_not_sharded(small_run):
    recipe = resolve(small_run.config, small_run.dataset.encoder, small_run.dataset.train()[1])
    with pytest.raises(TypeError, match="torchrec=True"):
        shard(TwoTower(recipe.model), ADAGRAD, 1e-3, CPU)


def test_a_model_of_tables_alone_learns(small_run, tmp_path):
    tree = {
        "data": {"events": str(tmp_path / "events.parquet")},
        "split": {"kind": "given", "test": str(tmp_path / "test.parquet")},
        "model": {"embedding_dim": 8},
        "training": {"epochs": 1, "table_optimizer": ADAGRAD, "refit": False},
    }
    small_run.events.filter(pl.int_range(pl.len()) % 5 == 0).write_parquet(tmp_path / "test.parquet")
    small_run.events.filter(pl.int_range(pl.len()) % 5 > 0).write_parquet(tmp_path / "events.parquet")
    config = parse_config(tree, "test")
    dataset = build(config, tmp_path / "dataset")
    loop.train(config, dataset, tmp_path / "run")
    progress = checkpoint.load(tmp_path / "run" / "model.safetensors").progress
    assert progress.best_score > 0.05


def test_adamw_is_not_sharded_in_one_process_and_refused_in_several(monkeypatch):
    with process_group("adamw", CPU) as world:
        assert not world.sharded
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="table_optimizer"), process_group("adamw", CPU):
        pass


def test_two_processes_hold_half_of_the_item_table_each(small_run, tmp_path):
    (tmp_path / "shapes.py").write_text(SHAPES)
    lines = sorted(line for line in torchrun(tmp_path / "shapes.py", small_run.run / "dataset").splitlines())
    rows = [int(line.split("rows=")[1].split()[0]) for line in lines if line.startswith("rank=")]
    assert len(rows) == 2
    assert max(rows) - min(rows) <= 1
    assert all(line.endswith("same=True") for line in lines if line.startswith("rank="))


def test_two_processes_learn_as_well_as_one_and_one_can_resume_their_checkpoint(cyclic_events, tmp_path):
    cyclic_events(num_users=300).write_parquet(tmp_path / "events.parquet")
    (tmp_path / "my.toml").write_text(
        '[data]\nevents = "events.parquet"\ntime = "time"\n[model]\nembedding_dim = 16\n[loss]\nnum_negatives = 64\n'
        '[training]\ntable_optimizer = "rowwise_adagrad"\nlearning_rate = 5e-3\nepochs = 8\nbatch_tokens = 256\n'
        "average_decay = 0.9\n"
    )
    train = ["-m", "recsys.cli", "train", "--config", tmp_path / "my.toml", "--dataset", tmp_path / "dataset"]
    build = ["-m", "recsys.cli", "build", "--config", tmp_path / "my.toml", "--out", tmp_path / "dataset"]
    subprocess.run([sys.executable, *map(str, build)], check=True, capture_output=True)
    torchrun(*train, "--out", tmp_path / "two")
    subprocess.run([sys.executable, *map(str, train), "--out", str(tmp_path / "one")], check=True, capture_output=True)
    two, one = (checkpoint.load(tmp_path / name / "model.safetensors").progress for name in ("two", "one"))
    assert one.best_score > 0.8
    assert abs(two.best_score - one.best_score) < 0.1
    more = [*map(str, train), "--out", str(tmp_path / "two"), "--resume", "--set", "training.epochs=9"]
    subprocess.run([sys.executable, *more], check=True, capture_output=True)
    resumed = checkpoint.load(tmp_path / "two" / "model.safetensors").progress
    assert resumed.epoch == 9
    assert resumed.epochs[:8] == two.epochs
    assert read_json(tmp_path / "two" / "training.json")["config"]["training"]["epochs"] == 9
