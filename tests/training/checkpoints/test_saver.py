"""When a checkpoint is written, and that one within an epoch resumes to the same bits."""

import pytest

from tests.small_trainings import StopError, assert_same_training, loss_of, make_state, read
from training.checkpoints import saver
from training.checkpoints.checkpoint import Identity
from training.checkpoints.saver import Saver
from training.loop import train
from training.sharding import ALONE

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
