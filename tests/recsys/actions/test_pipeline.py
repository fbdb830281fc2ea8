"""The demo goes on to its end whatever the gate decides."""

import shutil
from pathlib import Path

import pytest

import recsys.demo
from recsys.actions import pipeline
from recsys.errors import InputError, RegistryError
from recsys.metrics import Interval
from recsys.progress import planned
from training.promotion import Check

INTERVAL = Interval(0.4, 0.3, 0.5)
RUN = pipeline.RunFinished(
    name="demo", version=2, role="challenger", registry="sqlite:///mlflow.db", run=Path("d/run"),
    bundle=Path("d/run/bundle"), bundle_id="0" * 64, report=Path("d/run/report.html"), headline="ndcg@10",
    num_queries=9, figures={"model": INTERVAL, "popularity": INTERVAL, "item_knn": INTERVAL},
    dataset=Path("d/run/dataset"), digest="1" * 64, statistics={"users": 3},
)  # fmt: skip


def promoted(passed):
    checks = (
        Check(name="queries", passed=True, figure=9, demand="at least", limit=1, form=","),
        Check(name="latency", passed=passed, figure=200.0, demand="at most", limit=100.0, form=".1f"),
    )
    return pipeline.Promoted(
        name="demo", version=2, champion=None, promoted=passed, dry_run=False, num_queries=9, checks=checks, text=[],
        verdict="promoted" if passed else "refused: latency", exit_code=0 if passed else 3,
    )  # fmt: skip


@pytest.fixture
def demo(monkeypatch):
    """A function: whether the gate promotes to the outcome of the demo, whose stages are not run."""

    def play(passed):
        monkeypatch.setattr(recsys.demo, "write_world", lambda out: out / "demo.toml")
        monkeypatch.setattr(recsys.demo, "show", lambda run, scores, console: console.print("the readers"))
        monkeypatch.setattr(pipeline, "run", lambda config, out, settings, registry: RUN)
        monkeypatch.setattr(pipeline, "promote", lambda *arguments: promoted(passed))
        return pipeline.demo(Path("d"), None)

    return play


def test_a_promoted_demo_is_served_as_champion(demo, capsys):
    outcome = demo(passed=True)
    assert outcome.exit_code == 0
    page = "page: http://127.0.0.1:8000, once the next command runs"
    assert outcome.lines() == ["", "champion: demo version 2", "report: d/run/report.html", page]
    assert outcome.next.endswith("serve models:/demo@champion --events d/events.parquet")
    assert "the readers" in capsys.readouterr().out


def test_a_refused_demo_shows_why_and_goes_on(demo, capsys):
    outcome = demo(passed=False)
    assert outcome.exit_code == 0
    assert "FAIL  latency: 200.0, at most 100.0" in outcome.lines()
    assert "refused: latency" in outcome.lines()
    assert "serve d/run/bundle " in outcome.next
    assert "the readers" in capsys.readouterr().out


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


def test_a_published_baseline_reads_as_one(small_run, tmp_path, registry_uri):
    shutil.copytree(small_run.run, tmp_path / "run", ignore=shutil.ignore_patterns("dataset", "bundle"))
    with planned(4) as plan:
        outcome = pipeline.publish(tmp_path / "run", "item_knn", None, registry_uri)
    assert plan.num_started == 4
    folder = tmp_path / "run" / "baseline-item_knn"
    assert (outcome.baseline, outcome.report, outcome.bundle) == ("item_knn", None, folder / "bundle")
    figures, bundle, version = outcome.lines()
    assert f": item-kNN as it serves {outcome.figures['model'].mean:.4f}, " in figures
    assert bundle == f"bundle {outcome.bundle_id[:12]} in {folder / 'bundle'}"
    assert version == f"small version 1 is challenger in {registry_uri}"
    assert " promote small" in outcome.next


def test_the_demo_shows_what_was_measured_where_figures_were_left_out():
    means = {"model": 0.4, "popularity": 0.1, "item_knn": 0.2}
    assert list(pipeline.demo_scores(means).values())[-1] == 0.4
    assert len(pipeline.demo_scores(means)) == 3
    assert list(pipeline.demo_scores({"popularity": 0.1}).values()) == [0.1]
    assert pipeline.demo_scores({}) == {}
