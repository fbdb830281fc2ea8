"""What the commands from a log to a registered version return, and what they refuse."""

import shutil
from pathlib import Path

import pytest

from recsys.actions import pipeline
from recsys.buckets import fetched
from recsys.bundle import verify
from recsys.errors import InputError, RegistryError
from recsys.metrics import Interval
from recsys.progress import planned

INTERVAL = Interval(0.4, 0.3, 0.5)
RUN = pipeline.RunFinished(
    name="demo", version=2, role="challenger", registry="sqlite:///mlflow.db", run=Path("d/run"),
    bundle=Path("d/run/bundle"), bundle_id="0" * 64, report=Path("d/run/report.html"), headline="ndcg@10",
    num_queries=9, figures={"model": INTERVAL, "popularity": INTERVAL, "item_knn": INTERVAL},
    dataset=Path("d/run/dataset"), digest="1" * 64, statistics={"users": 3},
)  # fmt: skip


def test_a_run_reads_as_what_was_counted_and_where_everything_is():
    assert RUN.lines() == [
        "dataset d/run/dataset: 3 users",
        "test ndcg@10 over 9 queries: model 0.4000, popularity 0.4000, item-kNN 0.4000",
        "bundle 000000000000 in d/run/bundle",
        "demo version 2 is challenger in sqlite:///mlflow.db",
        "report: d/run/report.html",
    ]


def test_a_registry_that_is_no_good_is_refused_before_the_work(tmp_path):
    config = tmp_path / "my.toml"
    config.write_text('[data]\nevents = "no-such-log.parquet"\nuser_id = "u"\nitem_id = "i"\n')
    with pytest.raises(RegistryError, match="is a folder of files"):
        pipeline.run(config, tmp_path / "run", None, str(tmp_path / "mlruns"))
    with pytest.raises(InputError, match=r"model name '\.\.' .* starts with \."):
        pipeline.run(config, tmp_path / "run", ["registry.name=.."], str(tmp_path / "mlflow.db"))
    with pytest.raises(InputError, match=r"model name 'm\.lock' .* is that of a lock"):
        pipeline.build(config, tmp_path / "dataset", ["registry.name=m.lock"], 1)
    assert list(tmp_path.iterdir()) == [config]


def test_a_registry_that_fails_after_the_training_costs_nothing(monkeypatch, tmp_path):
    def fail(folder, registry_uri, device, encoders):
        raise RegistryError("registry http://***@host: the connection was refused")

    monkeypatch.setattr("training.publish.publish", fail)
    command = f"publish --run {tmp_path} --registry 'http://\\*\\*\\*@host'"
    with pytest.raises(RegistryError, match=f"refused. The bundle is finished and stays; continue with `.*{command}`"):
        pipeline.publish(tmp_path, None, None, "http://user:secret@host")


def test_a_published_baseline_reads_as_one_and_is_uploaded(small_run, tmp_path, registry_uri, s3):
    shutil.copytree(small_run.run, tmp_path / "run", ignore=shutil.ignore_patterns("dataset", "bundle"))
    with planned(4) as plan:
        outcome = pipeline.publish(tmp_path / "run", "item_knn", None, registry_uri, to=f"{s3}/model")
    assert plan.num_started == plan.num_stages == 5
    folder = tmp_path / "run" / "baseline-item_knn"
    assert (outcome.baseline, outcome.report, outcome.bundle) == ("item_knn", None, folder / "bundle")
    figures, bundle, version, uploaded = outcome.lines()
    assert f": item-kNN as it serves {outcome.figures['model'].mean:.4f}, " in figures
    assert bundle == f"bundle {outcome.bundle_id[:12]} in {folder / 'bundle'}"
    assert version == f"small version 1 is challenger in {registry_uri}"
    assert " promote small" in outcome.next
    assert uploaded == f"uploaded: {s3}/model, whose bundle is {s3}/model/bundle"
    copy = fetched(f"{s3}/model/bundle", beside="records")
    assert verify(copy) == outcome.bundle_id
    assert (copy.parent / "records" / "golden.json").is_file()
