"""What a command returns is documented, can be typed next, and reads well."""

import re
import shlex
import sys
from pathlib import Path

import pytest

from recsys.actions import about, answers, demonstration, night, outcome, pipeline, versions
from recsys.actions.outcome import Outcome, in_words, next_command

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "json.md").read_text()
OUTCOMES = {
    "build": pipeline.Built,
    "train": pipeline.Trained,
    "publish": pipeline.Published,
    "demo": demonstration.DemoFinished,
    "import": pipeline.Imported,
    "evaluate": versions.Evaluated,
    "compare": versions.Compared,
    "promote": versions.Promoted,
    "nightly": night.Night,
    "rollback": versions.RolledBack,
    "history": versions.History,
    "score": answers.Scored,
    "recommend": answers.Recommended,
    "config": about.ConfigReference,
    "doctor": about.Examined,
}


def members(model):
    """The members of the JSON object that are not in every object."""
    return {name for name, field in model.model_fields.items() if not field.exclude} - set(Outcome.model_fields)


@pytest.mark.parametrize("command", OUTCOMES)
def test_the_members_of_every_object_are_documented(command):
    (row,) = re.findall(rf"^\| `{command}` \| (.*) \|$", PAGE, flags=re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", row.partition(":")[0])) == members(OUTCOMES[command])


def test_run_has_the_members_of_publish_and_build():
    assert members(pipeline.RunFinished) == members(pipeline.Published) | members(pipeline.Built)


def test_the_next_command_can_be_typed_as_it_is(monkeypatch):
    monkeypatch.setattr(outcome.shutil, "which", lambda name: f"/usr/bin/{name}")
    line = next_command("run", config=Path("my data.toml"), set=["a.b=1", "c.d='x y'"], registry=None, out="run")
    assert shlex.split(line) == [
        "recsys", "run", "--config", "my data.toml", "--set", "a.b=1", "--set", "c.d='x y'", "--out", "run",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("typed", "program"),
    [(".venv/bin/recsys", ".venv/bin/recsys"), ("/somewhere/recsys/cli/__main__.py", "python -m recsys.cli")],
)
def test_the_next_command_works_where_the_environment_is_not_on_the_path(monkeypatch, typed, program):
    monkeypatch.setattr(outcome.shutil, "which", lambda name: None)
    monkeypatch.setattr(sys, "argv", [typed, "publish"])
    assert next_command("promote", "shop") == f"{program} promote shop"


def test_counts_read_as_words():
    assert in_words({"users": 5000, "short": 0, "training_events": 7}) == "5,000 users, 7 training events"
