"""A training that is interrupted and resumed ends with the same bits as an uninterrupted one, or is refused."""

import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from tests.small_trainings import assert_same_tensors, assert_same_training, changed, read, train_until, validate_to
from training.checkpoints import checkpoint
from training.loop import train


def test_the_same_seed_gives_the_same_bits(small, tmp_path):
    config, dataset = small
    for out in ("a", "b"):
        train(config, dataset, tmp_path / out)
    assert_same_training(tmp_path / "a", tmp_path / "b", config, dataset)
    other = changed(config, training={"seed": 1})
    train(other, dataset, tmp_path / "c")
    one, two = (
        read(tmp_path / out / "model.safetensors", settings, dataset) for out, settings in (("a", config), ("c", other))
    )
    assert any(not torch.equal(one.tensors[name], two.tensors[name]) for name in one.tensors)


@pytest.mark.parametrize("after", [1, 2])
def test_a_resumed_training_equals_an_uninterrupted_one(small, tmp_path, after, caplog):
    caplog.set_level("INFO")
    config, dataset = small
    train(config, dataset, tmp_path / "whole")
    train_until(config, dataset, tmp_path / "parts", after)
    part = read(tmp_path / "parts" / "checkpoint.safetensors", config, dataset)
    assert part.progress.epoch == after
    results = []
    train(config, dataset, tmp_path / "parts", resume=True, on_epoch=results.append)
    assert [result.epoch for result in results] == list(range(after + 1, 4))
    assert f"resuming after epoch {after}" in caplog.messages
    assert_same_training(tmp_path / "whole", tmp_path / "parts", config, dataset)
    train(config, dataset, tmp_path / "parts", resume=True)  # nothing is left to do
    assert_same_training(tmp_path / "whole", tmp_path / "parts", config, dataset)


def test_a_refit_trains_for_the_best_number_of_epochs_on_validation_events_too(small, tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO")
    config, dataset = small
    config = changed(config, training={"refit": True})
    validate_to([0.1, 0.5, 0.2], monkeypatch)
    results = []
    train(config, dataset, tmp_path / "whole", on_epoch=results.append)
    assert "refit on training and validation events, 2 epochs" in caplog.messages
    assert [(result.epoch, result.score) for result in results] == [(1, 0.1), (2, 0.5), (3, 0.2), (1, None), (2, None)]
    finished = read(tmp_path / "whole" / "model.safetensors", config, dataset)
    # the report shows the learning curve of the validated training
    assert (finished.progress.best_epoch, finished.progress.best_score) == (2, 0.5)
    refit = read(tmp_path / "whole" / checkpoint.refit_file(2), config, dataset)
    assert refit.progress.epoch == 2
    assert all(torch.equal(value, finished.group("model")[name]) for name, value in refit.group("average").items())
    chosen = read(tmp_path / "whole" / "checkpoint-best-2.safetensors", config, dataset).group("model")
    assert any(not torch.equal(value, chosen[name]) for name, value in finished.group("model").items())

    validate_to([0.1, 0.5, 0.2], monkeypatch)
    train_until(config, dataset, tmp_path / "parts", 1, times=2)
    assert not (tmp_path / "parts" / "model.safetensors").exists()
    train(config, dataset, tmp_path / "parts", resume=True)
    resumed = read(tmp_path / "parts" / "model.safetensors", config, dataset).group("model")
    assert all(torch.equal(value, resumed[name]) for name, value in finished.group("model").items())


def test_a_refit_of_another_length_is_not_resumed(small, tmp_path, monkeypatch):
    config, dataset = small
    short, long = (changed(config, training={"refit": True, "epochs": epochs}) for epochs in (1, 2))
    validate_to([0.1, 0.5], monkeypatch)
    train(short, dataset, tmp_path / "out")
    train(long, dataset, tmp_path / "out", resume=True)
    finished = read(tmp_path / "out" / checkpoint.refit_file(2), long, dataset)
    validate_to([0.1, 0.5], monkeypatch)
    train(long, dataset, tmp_path / "afresh")
    expected = read(tmp_path / "afresh" / checkpoint.refit_file(2), long, dataset)
    assert finished.progress.epoch == 2
    assert_same_tensors(finished.tensors, expected.tensors)


CHILD = """
import sys
from pathlib import Path
from recsys.config import Config
from recsys.data import Dataset
from training.learning_curve import Progress
from training.loop import train
train(Config.model_validate_json(sys.argv[1]), Dataset.open(Path(sys.argv[2])), Path(sys.argv[3]), on_epoch=print)
"""


@pytest.mark.parametrize("delay", [0.0, 0.15])
def test_a_training_killed_at_any_moment_resumes_to_the_same_bits(small, tmp_path, delay):
    config, dataset = small
    config = changed(config, training={"epochs": 6})
    train(config, dataset, tmp_path / "whole")
    threads = {"OMP_NUM_THREADS": str(torch.get_num_threads()), "MKL_NUM_THREADS": str(torch.get_num_threads())}
    child = subprocess.Popen(
        [sys.executable, "-u", "-c", CHILD, config.model_dump_json(), str(dataset.path), str(tmp_path / "killed")],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=os.environ | threads, text=True,
    )  # fmt: skip
    with child:
        first = child.stdout.readline()
        assert first.startswith("EpochResult(epoch=1,"), first
        time.sleep(delay)  # about an epoch takes as long, so it may be anywhere in one
        child.send_signal(signal.SIGKILL)
    train(config, dataset, tmp_path / "killed", resume=True)
    assert_same_training(tmp_path / "whole", tmp_path / "killed", config, dataset)


def test_a_run_folder_is_resumed_only_on_request_and_with_the_same_settings(small, tmp_path):
    config, dataset = small
    short = changed(config, training={"epochs": 1})
    train(short, dataset, tmp_path / "out")
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    with pytest.raises(ValueError, match="holds a training already; pass --resume"):
        train(short, dataset, tmp_path / "out")
    for section, values in (
        ("training", {"seed": 7}),
        ("training", {"learning_rate": 0.5}),
        ("loss", {"num_negatives": 8}),
        ("model", {"num_layers": 2}),
        ("model", {"embedding_dim": 8}),
    ):
        with pytest.raises(ValueError, match="settings"):
            train(changed(short, **{section: values}), dataset, tmp_path / "out", resume=True)
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
