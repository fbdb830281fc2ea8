"""A baseline is sealed, evaluated and registered beside the model of the same run, once."""

import logging
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from recsys.bundle import load_bundle, verify
from recsys.registry.store import CHALLENGER, Registry
from recsys.retriever import GoldenAnswers, Retriever
from training import publish_baseline as publishing
from training.evaluation import MODEL, EvaluationRecord, baselines
from training.publish_baseline import publish_baseline

RECORDS = {
    "bundle.json", "config.json", "evaluation.json", "golden.json", "per_query.parquet", "queries_test.parquet",
    "trained.parquet",
}  # fmt: skip


@pytest.fixture
def job(small_run, tmp_path, registry_uri):
    """A copy of the training, and a function that publishes a baseline of it."""
    run = tmp_path / "run"
    shutil.copytree(small_run.run, run, ignore=shutil.ignore_patterns("dataset"))
    return SimpleNamespace(
        run=run, uri=registry_uri, store=Registry(registry_uri),
        start=lambda name: publish_baseline(run, name, registry_uri=registry_uri),
    )  # fmt: skip


def test_a_baseline_is_published_once_and_the_model_stays(small_run, job):
    first, again = job.start("ease"), job.start("ease")
    folder = job.run / "baseline-ease"
    assert first.version == again.version == job.store.version("small", CHALLENGER)
    assert (first.version.number, first.role, first.folder) == (1, "challenger", folder)
    assert first.version.tags["recsys.baseline"] == "ease"
    assert first.version.bundle_id == verify(folder / "bundle")
    assert verify(job.run / "bundle") == small_run.bundle_id
    assert {path.name for path in (folder / "records").iterdir()} == RECORDS
    assert {path.name for path in job.store.records(first.version).iterdir()} == RECORDS
    run = job.store.client.get_run(first.version.run_id)
    assert run.data.params["baseline"] == "ease"
    assert run.data.params["half_life"] == str(baselines.EASE_HALF_LIFE)
    assert run.data.metrics["ndcg_at_10"] == pytest.approx(first.evaluation.headline_of(MODEL).mean)
    assert run.info.status == "FINISHED"


def test_every_baseline_serves_from_the_registry(small_run, job):
    histories = small_run.dataset.queries("test").get_column("history").head(20)
    for number, name in enumerate(("popularity", "item_knn", "ease"), start=1):
        published = job.start(name)
        assert published.version.number == number
        evaluation = EvaluationRecord.read(job.run / f"baseline-{name}" / "records")
        assert evaluation.headline_of(MODEL).mean == pytest.approx(evaluation.headline_of(name).mean, abs=1e-3)
        assert set(evaluation.methods) == {MODEL, "popularity", "item_knn", "ease"}
        retriever = Retriever.load(f"models:/small/{number}", registry_uri=job.uri)
        golden = GoldenAnswers.read(job.run / f"baseline-{name}" / "records")
        assert retriever.recommend(histories, k=10).item_ids.to_list() == golden.item_ids
        assert golden.bundle_id == retriever.bundle_id == published.version.bundle_id


def test_above_its_limit_item_knn_takes_the_place_of_ease(job, monkeypatch, caplog):
    monkeypatch.setattr(baselines, "EASE_LIMIT", 199)
    with caplog.at_level(logging.WARNING, logger="training.publish_baseline"):
        published = job.start("ease")
    assert caplog.messages == ["EASE is for smaller catalogues than 200 items: item-kNN takes its place"]
    assert published.version.tags["recsys.baseline"] == "item_knn"
    assert published.folder == job.run / "baseline-item_knn"


def test_what_cannot_be_published_is_one_line(job, tmp_path):
    with pytest.raises(ValueError, match="no baseline 'svd'; expected popularity, item_knn or ease"):
        job.start("svd")
    with pytest.raises(ValueError, match="no finished training at"):
        publish_baseline(tmp_path / "nothing", "ease", registry_uri=job.uri)


def test_a_killed_publication_is_completed(job, monkeypatch):
    def killed(*arguments, **settings):
        raise KeyboardInterrupt

    monkeypatch.setattr(publishing, "write_records", killed)
    with pytest.raises(KeyboardInterrupt):
        job.start("popularity")
    monkeypatch.undo()
    assert job.start("popularity").version.number == 1
    assert {path.name for path in (job.run / "baseline-popularity" / "records").iterdir()} == RECORDS


def test_a_refit_fits_the_baseline_on_validation_too(small_run, tmp_path):
    item_knn = next(baseline for baseline in baselines.BASELINES if baseline.name == "item_knn")
    dataset, bundles = small_run.dataset, []
    for refit in (False, True):
        publishing.seal_baseline(item_knn, replace(dataset, with_validation=refit), tmp_path / str(refit))
        bundles.append(load_bundle(tmp_path / str(refit))[0])
    np.testing.assert_array_equal(bundles[0].item_counts, dataset.item_counts)
    assert bundles[1].item_counts.sum() == dataset.item_counts.sum() + dataset.queries("validation").height
    assert bundles[1].provenance != bundles[0].provenance
