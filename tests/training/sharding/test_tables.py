"""Tables that are divided: what each process holds, how rows are averaged, and that two processes learn as one does."""

import json
from dataclasses import replace
from types import SimpleNamespace

import polars as pl
import pytest
import torch

from features.build import build
from recsys.config import load_config, parse_config
from recsys.data import OWN_ID
from recsys.files import read_json
from recsys.model import table_name
from recsys.model.two_tower import TwoTower
from tests.processes import torchrun
from tests.small_trainings import SPEC, changed
from training import loop, validation
from training.batches import make_loader
from training.checkpoints import checkpoint, pieces
from training.description import TrainingDescription
from training.sharding import tables
from training.sharding.plan import Processes, TableOptimizer, make_plan
from training.sharding.processes import process_group
from training.sharding.tables import ROWS_AT_ONCE, ShardedTables, initial_rows, shard, weight_pieces

CPU = torch.device("cpu")
OPTIMIZER = TableOptimizer("rowwise_adagrad", 0.01, 0.0, averaged=True)
NAME = "item_tower.ids.embeddings.item.weight"
HALVES = """
import json, sys, torch
from pathlib import Path
from recsys.errors import InputError
from recsys.model import ModelSpec, TwoTower
from training.sharding import Processes, TableOptimizer, make_plan, process_group, shard, weight_pieces
CPU, OPTIMIZER = torch.device("cpu"), {optimizer}
model = TwoTower({spec}, torchrec=True)
def refuse():
    return make_plan(model, OPTIMIZER, Processes(2, 2, "cpu", 1 << 30, 1 << 30), 64)
with process_group("rowwise_adagrad", CPU) as world:
    try:
        world.broadcast(refuse)
    except InputError as error:
        refused = str(error).count("on cpu")
    made = world.broadcast(lambda: make_plan(model, OPTIMIZER, Processes(2, 2, "cpu", 2 << 30, 2 << 30), 64))
    piece, = weight_pieces(shard(model, made, OPTIMIZER, CPU, seed=3))
    held = [world.gather(world.rank), refused, piece.offsets, len(piece.tensor), piece.tensor.double().sum().item()]
    Path(sys.argv[1], f"{{world.rank}}.json").write_text(json.dumps(held))
"""


@pytest.fixture
def world():
    with process_group("rowwise_adagrad", CPU) as world:
        yield world


def make(spec=SPEC, seed=0, **settings):
    """A model of one process whose tables are sharded."""
    model, optimizer = TwoTower(spec, torchrec=True), replace(OPTIMIZER, **settings)
    made = make_plan(model, optimizer, Processes(1, 1, "cpu", 4 << 30, 4 << 30), 64)
    return shard(model, made, optimizer, CPU, seed)


def test_a_process_can_draw_any_rows_of_a_table_alone():
    block = initial_rows(NAME, 1, 9, 4, seed=5)
    assert (block[:3] == initial_rows(NAME, 1, 3, 4, seed=5)).all()
    for other in (initial_rows(NAME, 2, 9, 4, 5), initial_rows("other", 1, 9, 4, 5), initial_rows(NAME, 1, 9, 4, 6)):
        assert (block != other).all()


def test_a_table_starts_with_the_rows_of_its_blocks(world):
    spec = replace(SPEC, num_rows=ROWS_AT_ONCE + 5)
    (piece,) = weight_pieces(make(spec, seed=5))
    assert piece.offsets == (0, 0)
    assert (piece.tensor[ROWS_AT_ONCE:].numpy() == initial_rows(NAME, 1, 5, 4, seed=5)).all()
    assert piece.tensor.std().item() == pytest.approx(0.08, rel=0.02)


def test_a_part_of_the_columns_and_rows_starts_as_in_the_whole_table():
    whole, part = torch.empty(ROWS_AT_ONCE + 40, 4), torch.empty(30, 2)
    tables._initialise(tables.Piece(NAME, (0, 0), whole), 4, 7, None)
    first = ROWS_AT_ONCE - 10
    tables._initialise(tables.Piece(NAME, (first, 2), part), 4, 7, None)
    assert torch.equal(part, whole[first : first + 30, 2:])
    tables._initialise(tables.Piece(NAME, (3, 1), part), 4, 7, whole + 1)
    assert torch.equal(part, (whole + 1)[3:33, 1:3])
    own = f"user_tower.metadata.tables.embedding_bags.{table_name('user', OWN_ID.name)}.weight"
    tables._initialise(tables.Piece(own, (0, 0), part), 2, 7, None)
    assert not part.any()


def test_two_processes_hold_half_of_a_table_each_and_together_what_one_would_hold(tmp_path, world):
    spec = replace(SPEC, num_rows=100_001)
    (tmp_path / "halves.py").write_text(HALVES.format(optimizer=OPTIMIZER, spec=spec))
    torchrun(tmp_path / "halves.py", tmp_path)
    held = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    assert [part[:4] for part in held] == [[[0, 1], 1, [0, 0], 50001], [[0, 1], 1, [50001, 0], 50000]]
    (whole,) = weight_pieces(make(spec, seed=3))
    assert sum(part[4] for part in held) == pytest.approx(whole.tensor.double().sum().item())


def test_rows_are_averaged_as_if_all_were_in_every_step(world):
    model = make()
    state = ShardedTables(model, averaged=True)
    (piece,) = weight_pieces(model)
    average = piece.tensor.clone()
    generator = torch.Generator().manual_seed(0)
    ids = model.module.item_tower
    for number in range(40):
        rows = torch.randint(6, (3,), generator=generator).clamp(max=4)  # row 5 is never read
        ids._look_up(rows).square().sum().backward()
        with torch.no_grad():
            ids._look_up(torch.arange(6))  # as validation does; changes nothing
        decay = min(0.9, (1 + number) / (10 + number))
        state.step(0.0, 0.0, decay)
        average.lerp_(piece.tensor, 1 - decay)
        if number == 20:
            state.settle()
    weights = piece.tensor.clone()
    state.settle()
    state.swap_averages()
    assert not torch.equal(weights, average)
    torch.testing.assert_close(piece.tensor, average)
    state.swap_averages()
    assert torch.equal(piece.tensor, weights)


def test_without_an_average_the_weights_themselves_are_validated(world):
    model = make(averaged=False)
    state = ShardedTables(model, averaged=False)
    (piece,) = weight_pieces(model)
    model.module.item_tower._look_up(torch.arange(3)).sum().backward()
    weights = piece.tensor.clone()
    state.step(0.0, 0.0, 0.0)
    state.settle()
    state.swap_averages()
    assert torch.equal(piece.tensor, weights)
    assert [part.name.split(".")[0] for part in state.pieces()] == ["model", "tables"]


class Kernel:
    """The parts of FBGEMM's kernel that its Adam is told by; the real one runs on GPUs only."""

    def __init__(self, optimizer):
        self.optimizer, self.rate = SimpleNamespace(value=optimizer), None
        self.iter, self.iter_cpu, self.feature_table_map = torch.tensor([77]), torch.tensor([77]), [0, 1]

    def set_learning_rate(self, rate):
        self.rate = rate


def test_adam_is_told_the_rate_and_how_many_steps_there_were(world, monkeypatch):
    state = ShardedTables(make(), averaged=True)
    kernels = [Kernel("adam"), Kernel("exact_row_wise_adagrad")]
    monkeypatch.setattr(tables, "_kernels", lambda model: kernels)
    state.set_learning_rate(0.25)
    assert [kernel.rate for kernel in kernels] == [0.25, None]
    state.restore({"steps": torch.tensor(5)})
    state.step(0.25, 0.0, 0.5)
    parts = [tables._Part(torch.zeros(4, 2), True) for _ in range(2)]
    looked_up = {"indices": torch.tensor([3, 1, 0, 2, 2]), "offsets": torch.tensor([0, 1, 2, 4, 5])}
    with torch.no_grad():
        state._before_lookup(parts, kernels[0], (), looked_up)
    assert kernels[0].iter_cpu.item() == 77
    state._before_lookup(parts, kernels[0], (), looked_up)
    assert kernels[0].iter_cpu.item() == kernels[0].iter.item() == 6  # FBGEMM adds 1 before it uses the number
    assert parts[0].touched.tolist() == [0, 1, 0, 1]
    assert parts[1].touched.tolist() == [1, 0, 1, 0]
    assert state.state()["steps"].item() == 6


def test_the_real_kernel_has_what_adam_is_told_by(world):
    (kernel,) = tables._kernels(make())
    assert kernel.optimizer.value == "exact_row_wise_adagrad"
    assert type(kernel.optimizer).ADAM.value == "adam"
    assert kernel.iter.shape == kernel.iter_cpu.shape == (1,)
    assert callable(kernel.set_learning_rate)


def test_a_model_of_tables_alone_learns(small_run, tmp_path):
    tree = {
        "data": {"events": str(tmp_path / "events.parquet")},
        "split": {"kind": "given", "test": str(tmp_path / "test.parquet")},
        "model": {"embedding_dim": 8},
        "training": {"epochs": 1, "table_optimizer": "rowwise_adagrad", "refit": False},
    }
    small_run.events.filter(pl.int_range(pl.len()) % 5 == 0).write_parquet(tmp_path / "test.parquet")
    small_run.events.filter(pl.int_range(pl.len()) % 5 > 0).write_parquet(tmp_path / "events.parquet")
    config = parse_config(tree, "test")
    dataset = build(config, tmp_path / "dataset")
    loop.train(config, dataset, tmp_path / "run")
    progress = checkpoint.load(tmp_path / "run" / "model.safetensors").progress
    assert progress.best_score > 0.05


def test_two_processes_learn_as_well_as_one_and_one_can_resume_their_checkpoint(cyclic_events, tmp_path):
    cyclic_events(num_users=300).write_parquet(tmp_path / "events.parquet")
    (tmp_path / "my.toml").write_text(
        '[data]\nevents = "events.parquet"\ntime = "time"\n[model]\nembedding_dim = 16\n[loss]\nnum_negatives = 64\n'
        '[training]\ntable_optimizer = "rowwise_adagrad"\nlearning_rate = 5e-3\nepochs = 8\nbatch_tokens = 256\n'
        "average_decay = 0.9\n"
    )
    config = load_config(tmp_path / "my.toml")
    dataset = build(config, tmp_path / "dataset")
    train = ["-m", "recsys.cli", "train", "--config", tmp_path / "my.toml", "--dataset", tmp_path / "dataset"]
    torchrun(*train, "--out", tmp_path / "two")
    loop.train(config, dataset, tmp_path / "one")
    trained = pieces.load_whole(tmp_path / "two" / "checkpoint.safetensors")
    two, one = (checkpoint.load(tmp_path / name / "model.safetensors").progress for name in ("two", "one"))
    assert one.best_score > 0.8
    assert abs(two.best_score - one.best_score) < 0.1
    assert_validated_as_a_whole(config, dataset, tmp_path / "two" / "model.safetensors")
    loop.train(changed(config, training={"epochs": 9}), dataset, tmp_path / "two", resume=True)
    torchrun(*train, "--out", tmp_path / "two", "--resume", "--set", "training.epochs=10")
    resumed = checkpoint.load(tmp_path / "two" / "model.safetensors").progress
    assert resumed.epoch == 10
    assert resumed.epochs[:8] == two.epochs
    assert max(result.loss for result in resumed.epochs[8:]) < two.epochs[5].loss
    assert read_json(tmp_path / "two" / "training.json")["config"]["training"]["epochs"] == 10
    momentum = [value for name, value in trained.tensors.items() if name.endswith("/item.momentum1")]
    assert [len(value) for value in momentum] == [41]
    assert len(list((tmp_path / "two").glob("*.tables"))) == 2  # of the last checkpoint and of the best epoch


def assert_validated_as_a_whole(config, dataset, path):
    """One process finds the score that several found together."""
    training = TrainingDescription.of(config, dataset)
    model = TwoTower(training.recipe.model)
    saved = checkpoint.load(path)
    model.load_state_dict(saved.group("model"))
    queries = validation.validation_set(dataset, seed=0)
    score = validation.score(model.eval(), queries, make_loader(training), dataset.encoder.num_items, CPU)
    assert score == pytest.approx(saved.progress.best_score, abs=1e-6)
