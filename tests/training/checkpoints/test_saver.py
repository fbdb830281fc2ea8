"""When a checkpoint is written, and that one within an epoch resumes to the same bits."""

import pytest
import torch

from recsys.errors import InputError
from recsys.model.feature_tensors import FeatureRows
from recsys.model.two_tower import TwoTower
from tests.small_trainings import SPEC, StopError, assert_same_training, loss_of, make_state, read
from training.checkpoints import saver
from training.checkpoints.checkpoint import Identity
from training.checkpoints.saver import Saver
from training.loop import train
from training.sharding import ALONE, Processes, TableOptimizer, make_plan, process_group, shard
from training.state import TrainingState

CPU = torch.device("cpu")
IDENTITY = Identity("d1", "s1", "adamw")


@pytest.fixture
def clock(monkeypatch):
    """The time in seconds, which tests set. Every checkpoint takes ``cost`` of it."""

    class Clock:
        now, cost, saved = 0.0, 0.0, 0

    clock, save = Clock(), saver.checkpoint.save

    def slowly(path, checkpoint):
        save(path, checkpoint)
        clock.saved += 1
        clock.now += clock.cost

    monkeypatch.setattr(saver.time, "monotonic", lambda: clock.now)
    monkeypatch.setattr(saver.checkpoint, "save", slowly)
    return clock


def make(path):
    state = make_state()
    state.step(loss_of(state))
    state.count(tokens=3, seconds=0.1)
    return Saver(path / "c.safetensors", state, IDENTITY, ALONE)


def test_within_an_epoch_a_checkpoint_is_written_every_15_minutes(tmp_path, clock):
    writer = make(tmp_path)
    for minute in range(60):
        clock.now = minute * 60.0
        writer.after_step()
    assert clock.saved == 3


def test_a_checkpoint_that_takes_long_is_written_more_seldom(tmp_path, clock):
    writer = make(tmp_path)
    clock.cost = 60.0
    for minute in range(300):
        clock.now = max(clock.now, minute * 60.0)
        writer.after_step()
        writer.finish_epoch(last=False)
    assert clock.saved == 6  # at once, and then in every 50th minute
    writer.finish_epoch(last=True)
    assert clock.saved == 7


def test_a_cheap_one_is_written_after_every_epoch(tmp_path, clock):
    writer = make(tmp_path)
    for _ in range(4):
        writer.finish_epoch(last=False)
    assert clock.saved == 4


@pytest.mark.parametrize("stop", [1, 5])
def test_a_training_killed_within_an_epoch_resumes_to_the_same_bits(small, tmp_path, monkeypatch, caplog, stop):
    caplog.set_level("INFO")
    config, dataset = small
    train(config, dataset, tmp_path / "whole")
    monkeypatch.setattr(saver, "INTERVAL", -1.0)
    monkeypatch.setattr(saver, "SHARE", 0)
    plain, steps = Saver.after_step, []

    def after_step(writer):
        plain(writer)
        steps.append(writer)
        if len(steps) == stop:
            raise StopError

    monkeypatch.setattr(Saver, "after_step", after_step)
    with pytest.raises(StopError):
        train(config, dataset, tmp_path / "parts")
    assert read(tmp_path / "parts" / "checkpoint.safetensors", config, dataset).progress.partial.steps > 0
    monkeypatch.undo()
    train(config, dataset, tmp_path / "parts", resume=True)
    assert any("of the next" in message for message in caplog.messages)
    assert_same_training(tmp_path / "whole", tmp_path / "parts", config, dataset)


def sharded_writer(path, world, seed=0):
    """A writer whose model's table is sharded, in one process."""
    optimizer = TableOptimizer("rowwise_adagrad", 0.1, 0.0, averaged=True)
    model = TwoTower(SPEC, torchrec=True)
    made = make_plan(model, optimizer, Processes(1, 1, "cpu", 4 << 30, 4 << 30), 8)
    state = TrainingState(shard(model, made, optimizer, CPU, seed), 0.1, 0.0, 0.5)
    return Saver(path, state, IDENTITY, world), state


def take_step(state):
    vectors = state.model.module.encode_items(torch.tensor([0, 2, 5]), FeatureRows(None, None))
    state.step(vectors.square().sum() + state.model.module.log_temperature)
    state.count(tokens=3, seconds=0.1)


def test_a_sharded_training_killed_while_it_saves_continues_from_the_checkpoint_before(tmp_path, monkeypatch):
    path = tmp_path / "checkpoint.safetensors"
    with process_group("rowwise_adagrad", CPU) as world:
        writer, state = sharded_writer(path, world)
        take_step(state)
        writer.finish_epoch(last=True)
        before = {piece.name: piece.tensor.clone() for piece in state.tables.pieces()}
        for killed_in in ("pieces.save_file", "checkpoint.save"):  # among the tables, and after them
            take_step(state)
            with monkeypatch.context() as patch:
                patch.setattr(f"training.checkpoints.{killed_in}", _stop)
                with pytest.raises(StopError):
                    writer.finish_epoch(last=True)
            resumed, other = sharded_writer(path, world, seed=1)
            resumed.resume()
            assert other.progress.steps == other.tables.state()["steps"] == 1
            for piece in other.tables.pieces():
                assert torch.equal(piece.tensor, before[piece.name]), piece.name
        take_step(state)
        writer.finish_epoch(last=True)
        assert len(list(tmp_path.glob("*.tables"))) == 1  # what the killed ones left is gone


def test_a_checkpoint_of_several_processes_is_not_resumed_by_another_kind_of_adamw(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    with process_group("rowwise_adagrad", CPU) as world:
        writer, state = sharded_writer(path, world)
        take_step(state)
        writer.finish_epoch(last=True)
    with pytest.raises(InputError, match="written by a training in several processes, and this one has one"):
        Saver(path, make_state(), IDENTITY, ALONE).resume()


def _stop(*_args, **_settings):
    raise StopError
