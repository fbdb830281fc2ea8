"""The command line as a person meets it: help at once, one line for what is wrong, and the right exit code."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from recsys import cli
from recsys.registry.store import Registry

COMMANDS = [
    "build",
    "compare",
    "config",
    "demo",
    "doctor",
    "evaluate",
    "history",
    "import",
    "promote",
    "publish",
    "rollback",
    "run",
    "score",
    "train",
]


@pytest.fixture
def recsys(capsys, monkeypatch, tmp_path):
    """A function: a command line to (exit code, stdout, stderr), in an empty working directory."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["recsys", *map(str, arguments)])
        try:
            cli.main()
            code = 0
        except SystemExit as stop:
            code = stop.code or 0
        return (code, *capsys.readouterr())

    return call


@pytest.fixture
def config(small_run, tmp_path):
    """A config file for the small world that trains for a moment."""
    path = tmp_path / "my.toml"
    path.write_text(f"""
[data]
events = "{small_run.folder}/events.parquet"
time = "timestamp"
[model]
embedding_dim = 8
[loss]
num_negatives = 16
[training]
epochs = 1
[registry]
name = "mine"
""")
    return path


def test_every_command_has_help_with_an_example(recsys):
    code, out, _ = recsys("--help")
    assert code == 0
    assert re.findall(r"│ (\w+) ", out)[: len(COMMANDS)] == COMMANDS
    for command in COMMANDS:
        code, out, err = recsys(command, "--help")
        assert (code, err) == (0, "")
        assert f"Example: recsys {command}" in out


def test_help_is_quick():
    script = """
import sys
from recsys import cli
for arguments in (["--help"], ["score", "--help"], ["--version"]):
    sys.argv = ["recsys", *arguments]
    try:
        cli.main()
    except SystemExit:
        pass
heavy = {"torch", "torchrec", "faiss", "mlflow", "polars", "numpy", "pandas", "altair"} & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["foo"], 'Unknown command "foo".* See `recsys --help`'),
        (["score"], "--bundle requires an argument.* See `recsys score --help`"),
        (["score", "--bundle", "b", "--out", "o", "--k", "many"], 'unable to convert "many" into int'),
        (["score", "--bundle", "b", "--out", "o", "--colour", "red"], "Unknown option: --colour"),
        (["score", "--bundle", "b", "--out", "o", "--events", "e"], "no bundle at b; expected a folder with"),
        (["score", "--bundle", "models:/x@champion", "--out", "o"], "'x' has no champion in sqlite:///.*/here/mlflow.db"),
        (["run", "--config", "no.toml", "--out", "o"], "no config at no.toml"),
        (["run", "--config", "{config}", "--out", "o", "--set", "model.layers=2"], "unknown key 'model.layers'"),
        (["run", "--config", "{config}", "--out", "o", "--set", "oops"], "expected section.key=value"),
        (["run", "--config", "{config}", "--out", "o", "--set", "data.events=no.parquet"], "no Parquet file at .*no"),
        (["run", "--config", "{config}", "--out", "o", "--set", "data.time=when"], "has no column 'when'"),
        (["run", "--config", "{config}", "--out", "o", "--set", "registry.name=a/b"], "registry.name is 'a/b'"),
        (["build", "--config", "{config}", "--out", "o", "--set", "data.item_id=thing"], "has no column 'thing'"),
        (["train", "--config", "{config}", "--dataset", "d", "--out", "o"], "no dataset at d"),
        (["publish", "--run", "r"], "no finished training at r"),
        (["evaluate", "--bundle", "b", "--queries", "q.parquet"], "no Parquet file at q.parquet"),
        (["promote", "x"], "'x' has no challenger in sqlite:///"),
        (["promote", "x", "--version", "1"], "'x' has no version 1 in sqlite:///"),
        (["rollback", "x"], "'x' has no other champion to go back to in sqlite:///"),
        (["history", "x"], "'x' has no history in sqlite:///"),
        (["promote", "x", "--registry", "ftp://y"], "registry ftp://y: .* check --registry or MLFLOW_TRACKING_URI"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_exit_code_2(recsys, config, arguments, message):
    code, out, err = recsys(*(argument.format(config=config) for argument in arguments))
    assert code == 2
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert re.search(message, err), err
    assert "Traceback" not in out + err
    left = {path.name for path in Path.cwd().iterdir()}
    assert left <= ({"o"} if "registry.name=a/b" in arguments else set())  # a dataset is no half-written one


def test_what_the_disk_refuses_is_one_line_too(recsys, config):
    Path("o").touch()
    code, _, err = recsys("build", "--config", config, "--out", "o/dataset")
    assert (code, err.count("\n")) == (2, 1)
    assert err.startswith("error: ")


def test_a_traceback_on_request(recsys, monkeypatch):
    monkeypatch.setenv("RECSYS_TRACEBACK", "1")
    with pytest.raises(ValueError, match="no finished training"):
        recsys("publish", "--run", "r")


def test_from_a_log_to_recommendations(recsys, config, small_run, tmp_path, registry_uri):
    """Six lines of config, every command, and --set twice."""
    settings = ["--set", "training.learning_rate=0.01", "--set", "model.max_history=20"]
    code, out, err = recsys("run", "--config", config, "--out", "run", *settings, "--registry", registry_uri)
    assert (code, err) == (0, "")
    assert "mine version 1 is challenger" in out
    assert "report: run/report.html" in out
    assert " 0 " not in out.splitlines()[0]
    code, again, _ = recsys("run", "--config", config, "--out", "run", *settings, "--registry", registry_uri)
    assert code == 0
    assert again.splitlines()[-3:] == out.splitlines()[-3:]
    code, _, err = recsys("run", "--config", config, "--out", "run", "--registry", registry_uri)
    assert code == 2
    assert "train into another --out" in err

    code, out, err = recsys(
        "evaluate", "--bundle", "models:/mine/1", "--queries", "run/queries_test.parquet", "--registry", registry_uri
    )
    assert (code, err) == (0, "")
    assert re.search(r"^ndcg@10 +0\.\d{4}  \[0\.\d{4}, 0\.\d{4}\]$", out, re.MULTILINE)
    code, out, err = recsys("promote", "mine", "--registry", registry_uri, "--dry-run")
    assert (code, err) == (3, "")
    assert "FAIL  beats item_knn" in out

    store = Registry(registry_uri)
    store.move("mine", "champion", store.numbered("mine", 1))
    log = [
        "--bundle",
        "models:/mine@champion",
        "--events",
        small_run.folder / "events.parquet",
        "--registry",
        registry_uri,
    ]
    code, out, err = recsys("score", *log, "--out", "recs", "--k", "7")
    assert (code, err) == (0, "")
    assert "300 users" in out.splitlines()[-1]
    assert pl.read_parquet("recs/part-*.parquet").height == 2_100
    code, _, err = recsys("score", *log, "--out", "recs", "--k", "8")
    assert code == 2
    assert "recs holds scores of another k (7, now 8); choose another --out" in err
    items = ["--items", small_run.folder / "items.parquet", "--users", small_run.folder / "users.parquet"]
    code, _, err = recsys("score", *log, *items, "--out", "recs2", "--no-exclude-seen")
    assert (code, err) == (0, "")


def test_a_newcomer_reads_only_our_lines(config, tmp_path):
    """A new registry in a process of its own: no warning, no migration, no progress bar."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW", "PYTHONWARN"))}
    command = [sys.executable, "-m", "recsys.cli", "run", "--config", str(config), "--out", "run"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert [line.split()[0] for line in done.stdout.splitlines()] == [
        "dataset",
        "epoch",
        "bundle",
        "test",
        "mine",
        "report:",
    ]
    assert {path.name for path in tmp_path.iterdir()} == {"my.toml", "run", "mlflow.db", "mlartifacts"}
    shutil.rmtree(tmp_path / "mlartifacts")
