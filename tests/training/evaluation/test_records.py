"""A publication survives every diagnostic that fails, and says which did."""

import polars as pl
import pytest

from recsys.bundle import load_bundle
from recsys.errors import InputError
from recsys.retriever import Retriever
from tests.small_trainings import TINY
from training import loop, publish
from training.checkpoints import checkpoint
from training.description import TrainingDescription
from training.evaluation import EvaluationRecord, baselines, evaluate, records
from training.evaluation.baselines import Baseline

FILES = {"config.json", "evaluation.json", "golden.json", "map.json", "per_query.parquet", "queries_test.parquet",
         "sketch.json", "trained.parquet"}  # fmt: skip


def broken(*arguments, **settings):
    raise ZeroDivisionError("by zero")


@pytest.fixture
def written(build_dataset, cyclic_events, tmp_path):
    """A function: write the records of a tiny training and its page, and return both."""
    config, dataset = build_dataset(cyclic_events(num_users=20), **TINY | {"training": {"epochs": 1}})
    run = tmp_path / "run"
    loop.train(config, dataset, run)
    trained, training = checkpoint.load(run / "model.safetensors"), TrainingDescription.read(run)
    publish.seal(training, trained, run / "bundle")
    retriever = Retriever(*load_bundle(run / "bundle"))

    def write():
        records.write_records(run / "records", retriever, dataset.queries("test"), training, trained)
        return EvaluationRecord.read(run / "records"), publish.write_page(run / "records", training, retriever, trained)

    write.folder = run / "records"
    return write


def test_a_complete_record_says_nothing_of_what_is_left_out(written):
    evaluation, page = written()
    assert evaluation.left_out == {}
    assert {path.name for path in written.folder.iterdir()} == FILES
    assert "left_out" not in (written.folder / "evaluation.json").read_text()
    assert "Left out" not in page


def test_every_part_may_fail_and_is_named(written, monkeypatch):
    written()
    for name in ("map_2d", "measure", "item_parts"):
        monkeypatch.setattr(records, name, broken)
    monkeypatch.setattr(records.GoldenAnswers, "of", broken)
    for name in ("slices_of", "_exposure"):
        monkeypatch.setattr(evaluate, name, broken)
    evaluation, page = written()
    assert set(evaluation.left_out) == {
        "the map of the items", "the geometry", "the parts of the item vectors", "the golden answers", "the slices",
        "the exposure",
    }  # fmt: skip
    assert evaluation.methods["model"]
    assert {path.name for path in written.folder.iterdir()} == FILES - {"golden.json", "map.json", "sketch.json"}
    for part in evaluation.left_out:
        assert f"<li>{part}: a bug (ZeroDivisionError: by zero); the log has the traceback</li>" in page
    assert "Query by query" in page


def test_without_any_evaluation_there_is_a_page_that_says_so(written, monkeypatch):
    monkeypatch.setattr(evaluate, "_values", broken)
    evaluation, page = written()
    assert (evaluation.methods, evaluation.slices) == ({}, ())
    assert "per_query.parquet" not in {path.name for path in written.folder.iterdir()}
    assert "<b>Not judged:</b> a bug (ZeroDivisionError: by zero)" in page
    assert publish.summary_line(evaluation).startswith("the model could not be evaluated: a bug")
    with pytest.raises(InputError, match="the evaluation was left out: a bug"):
        evaluation.require()


def test_one_baseline_may_fail(written, monkeypatch):
    failing = (Baseline("popularity", "popularity", broken), *baselines.BASELINES[1:])
    monkeypatch.setattr(evaluate, "BASELINES", failing)
    evaluation, page = written()
    assert set(evaluation.left_out) == {"popularity"}
    assert set(evaluation.methods) == {"model", "item_knn", "ease"}
    assert "popularity" not in pl.read_parquet(written.folder / "per_query.parquet").columns
    assert "Is it better than item-kNN?" in page
    assert "popularity" not in publish.summary_line(evaluation)


def test_a_page_that_cannot_be_written_says_why(written, monkeypatch):
    monkeypatch.setattr(publish, "render_report", broken)
    _, page = written()
    assert "<b>No report:</b> a bug (ZeroDivisionError: by zero)" in page
