"""What MLflow is told about a training."""

import math
import shutil
from dataclasses import replace

import pytest

from recsys.registry import Version
from training import run_record as module
from training.checkpoints.checkpoint import load
from training.description import TrainingDescription
from training.evaluation.record import EvaluationRecord
from training.run_record import run_record


@pytest.fixture
def arguments(small_run, records, tmp_path):
    """The arguments of ``run_record`` but the parent, in a run folder of the test's own."""
    shutil.copytree(records, tmp_path / "records")
    trained = load(small_run.run / "model.safetensors")
    return tmp_path, TrainingDescription.read(small_run.run), trained, EvaluationRecord.read(records)


def test_what_is_recorded(small_run, arguments):
    run, training, trained, evaluation = arguments
    record = run_record(*arguments, Version("small", 3, "run", "bundle", {}))
    assert record.parameters["model.embedding_dim"] == 16
    assert record.parameters["training.weight_decay"] == 0.0  # left open by the config
    assert not [name for name in record.parameters if name.startswith(("data.", "features."))]
    assert record.metrics["ndcg_at_10"] == evaluation.headline_of("model").mean
    assert record.metrics["geometry/effective_rank"] == evaluation.geometry.effective_rank
    assert record.metrics["system/training_seconds"] == sum(epoch.seconds for epoch in trained.progress.epochs)
    assert [figures["epoch"] for figures in record.learning_curve] == [1, 2, 3]
    assert all({"loss", "score", "seconds", "tokens"} <= set(figures) for figures in record.learning_curve)
    assert record.tags["recsys.parent"] == "version 3"
    assert record.data == (small_run.config.data.events, training.dataset.digest)
    assert {path.name for path, folder in record.files if folder == ""} == {"report.html", "environment.txt"}
    assert {path.name for path, folder in record.files if folder == "records"} == {
        path.name for path in (run / "records").iterdir()
    }  # fmt: skip
    assert "polars==" in (run / "environment.txt").read_text()


def test_the_description_is_what_mlflow_shows_first(arguments):
    description = run_record(*arguments, None).description
    model = arguments[3].headline_of("model")
    assert description.startswith(f"ndcg@10 {model.mean:.4f} ({model.low:.4f} to {model.high:.4f}) on 300 held-out")
    assert "item-kNN 0." in description
    assert "follows none" in description
    assert "`recsys promote small` judges it" in description


def test_figures_that_are_not_finite_are_left_out(arguments):
    run, training, trained, evaluation = arguments
    odd = evaluation.model_copy(update={"geometry": replace(evaluation.geometry, hubness=math.nan)})
    metrics = run_record(run, training, trained, odd, None).metrics
    assert "geometry/hubness" not in metrics
    assert "geometry/alignment" in metrics


def test_a_refit_has_no_validation_score(arguments):
    run, training, trained, evaluation = arguments
    curve = trained.progress
    epochs = tuple(replace(epoch, score=None) for epoch in curve.epochs)
    record = run_record(run, training, replace(trained, progress=replace(curve, epochs=epochs)), evaluation, None)
    assert all("score" not in figures and "loss" in figures for figures in record.learning_curve)


def test_outside_a_repository_the_commit_is_unknown(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert module.git_commit() == "unknown"
