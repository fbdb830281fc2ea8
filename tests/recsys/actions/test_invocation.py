"""Exit codes, and what goes to stdout and what to stderr, whatever the command is."""

import json
from pathlib import Path
from typing import Annotated

import pytest
from cyclopts import App, Parameter

from recsys.actions.invocation import command, invoke
from recsys.actions.outcome import Outcome
from recsys.errors import InputError
from recsys.progress import stage


class Greeted(Outcome, frozen=True):
    """An outcome of the test's own."""

    name: str

    def lines(self):
        return [f"hello {self.name}"]


@pytest.fixture
def app():
    """A command line with one command, which can fail in every way."""
    line = App(name="recsys", suppress_keyboard_interrupt=False)

    @command(line, stages=1)
    def greet(*, name: Annotated[str, Parameter(help="whom")] = "you", fail: str | None = None) -> Outcome:
        """Say hello."""
        errors = {"input": InputError("no such\nname"), "disk": OSError("disk full"), "bug": KeyError("x"),
                  "stop": KeyboardInterrupt()}  # fmt: skip
        with stage("greet"):
            print("a library prints this")
            if fail in errors:
                raise errors[fail]
        return Greeted(name=name, exit_code=3 if fail == "gate" else 0, next="recsys greet --name all")

    return line


@pytest.fixture
def call(app, capsys, monkeypatch):
    """A function: arguments to (exit code, stdout, stderr)."""
    monkeypatch.delenv("RECSYS_TRACEBACK", raising=False)

    def run(*arguments):
        return (invoke(app, ["greet", *arguments]), *capsys.readouterr())

    return run


def test_a_person_gets_lines_on_stdout_and_the_next_command_on_stderr(call):
    code, out, err = call("--name", "Ada")
    assert (code, out) == (0, "a library prints this\nhello Ada\n")
    assert err.splitlines()[-1] == "next: recsys greet --name all"


def test_a_program_gets_one_object_on_stdout_and_nothing_else(call):
    code, out, err = call("--name", "Ada", "--json")
    result = json.loads(out)
    assert (code, result["command"], result["name"], result["exit_code"]) == (0, "greet", "Ada", 0)
    assert list(result["stages"]) == ["greet"]
    assert result["stages"]["greet"] <= result["seconds"] + 0.001
    assert result["next"] == "recsys greet --name all"
    assert "a library prints this" in err
    assert "hello" not in err


def test_a_refusal_is_a_result_with_its_own_exit_code(call):
    code, out, _ = call("--fail", "gate", "--json")
    assert code == json.loads(out)["exit_code"] == 3


@pytest.mark.parametrize(
    ("fail", "exit_code", "error"),
    [
        ("input", 2, "no such name"),
        ("disk", 2, "disk full"),
        ("stop", 130, "interrupted"),
        ("bug", 1, "KeyError: 'x'"),
    ],
)
def test_a_failure_is_one_line_and_one_object(call, fail, exit_code, error):
    code, out, err = call("--fail", fail)
    assert (code, out) == (exit_code, "a library prints this\n")
    assert err.splitlines()[-1] == f"error: {error}"
    code, out, err = call("--fail", fail, "--json")
    assert json.loads(out) == {"error": error, "exit_code": exit_code}
    assert err.splitlines()[-1] == f"error: {error}"


def test_only_a_bug_has_a_traceback_and_says_where_to_report_it(call):
    _, _, err = call("--fail", "bug")
    assert "Traceback (most recent call last)" in err
    assert "This is a bug in recsys" in err
    assert "open an issue" in err
    for fail in ("input", "disk", "stop"):
        assert "Traceback" not in call("--fail", fail)[2]


def test_a_wrong_flag_names_the_help(call):
    code, out, _ = call("--colour", "red", "--json")
    assert code == 2
    assert json.loads(out)["error"].endswith("See `recsys greet --help`")


def test_of_several_processes_one_prints_the_result(call, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    code, out, _ = call("--name", "Ada", "--json")
    assert (code, out) == (0, "")


def test_help_shows_the_flag_of_every_command(app, capsys):
    assert invoke(app, ["greet", "--help"]) == 0
    out = capsys.readouterr().out
    assert "--json" in out
    assert "--name" in out


def test_paths_are_local_ones_however_they_are_written(tmp_path, monkeypatch, capsys):
    line, seen = App(name="recsys"), []

    @command(line, stages=1)
    def write(*paths: Path, out: Path) -> Outcome:
        """Write."""
        seen.extend([*paths, out])
        return Greeted(name="you")

    monkeypatch.setenv("HOME", str(tmp_path))
    assert invoke(line, ["write", "~/a", f"file://{tmp_path}/b%20c", "--out", "~/out"]) == 0
    assert seen == [tmp_path / "a", tmp_path / "b c", tmp_path / "out"]
    assert invoke(line, ["write", "--out", "s3://bucket/recs"]) == 2
    assert "s3://bucket/recs is no local path; expected one" in capsys.readouterr().err
