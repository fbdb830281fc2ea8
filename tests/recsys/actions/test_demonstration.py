"""The demo goes on to its end whatever the gate decides."""

from pathlib import Path

import pytest

import recsys.demo
from recsys.actions import demonstration
from recsys.actions.pipeline import RunFinished
from recsys.metrics import Interval
from training.promotion import Check

INTERVAL = Interval(0.4, 0.3, 0.5)
RUN = RunFinished(
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
    return demonstration.Promoted(
        name="demo", version=2, champion=None, promoted=passed, dry_run=False, num_queries=9, checks=checks, text=[],
        verdict="promoted" if passed else "refused: latency", exit_code=0 if passed else 3,
    )  # fmt: skip


@pytest.fixture
def demo(monkeypatch):
    """A function: whether the gate promotes to the outcome of the demo, whose stages are not run."""

    def play(passed):
        monkeypatch.setattr(recsys.demo, "write_world", lambda out: out / "demo.toml")
        monkeypatch.setattr(recsys.demo, "show", lambda run, scores, console: console.print("the readers"))
        monkeypatch.setattr(demonstration, "run", lambda config, out, settings, registry: RUN)
        monkeypatch.setattr(demonstration, "promote", lambda *arguments: promoted(passed))
        return demonstration.demo(Path("d"), None)

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


def test_the_demo_shows_what_was_measured_where_figures_were_left_out():
    means = {"model": 0.4, "popularity": 0.1, "item_knn": 0.2}
    assert list(demonstration.demo_scores(means).values())[-1] == 0.4
    assert len(demonstration.demo_scores(means)) == 3
    assert list(demonstration.demo_scores({"popularity": 0.1}).values()) == [0.1]
    assert demonstration.demo_scores({}) == {}
