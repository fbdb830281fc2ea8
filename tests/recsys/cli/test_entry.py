"""The command line as a person meets it: help at once, one line for what is wrong, and the right exit code."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
import torch

from recsys import cli
from recsys.actions.outcome import program
from recsys.registry.runs import RunRecord
from recsys.registry.store import Registry

DATED = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ")
EMPTY_RECORD = RunRecord({}, {}, [], [], {}, "", ("log", "digest"))

COMMANDS = [
    "build",
    "compare",
    "config",
    "demo",
    "doctor",
    "evaluate",
    "history",
    "import",
    "init",
    "nightly",
    "promote",
    "publish",
    "recommend",
    "refresh",
    "rollback",
    "run",
    "score",
    "serve",
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
        with pytest.raises(SystemExit) as stop:
            cli.main()
        return (stop.value.code or 0, *capsys.readouterr())

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
        (["run", "--config", "{config}", "--out", "o", "--set", "data.events=no.parquet"], "events: no table at .*no"),
        (["run", "--config", "{config}", "--out", "o", "--set", "data.time=when"], "has no column 'when'"),
        (["run", "--config", "{config}", "--out", "o", "--set", "registry.name=a/b"], "model name 'a/b' .* has '/'"),
        (["build", "--config", "{config}", "--out", "o", "--set", "data.item_id=thing"], "has no column 'thing'"),
        (["train", "--config", "{config}", "--dataset", "d", "--out", "o"], "no dataset at d"),
        (["publish", "--run", "r"], "no finished training at r"),
        (["evaluate", "--bundle", "b", "--queries", "q.parquet"], "queries: no table at q.parquet"),
        (["promote", "x"], "'x' has no challenger in sqlite:///"),
        (["promote", "x", "--version", "1"], "'x' has no version 1 in sqlite:///"),
        (["rollback", "x"], "'x' has no other champion to go back to in sqlite:///"),
        (["history", "x"], "'x' has no history in sqlite:///"),
        (["promote", "x", "--registry", "ftp://y"], "registry ftp://y is nothing .* check --registry"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_exit_code_2(recsys, config, arguments, message):
    code, out, err = recsys(*(argument.format(config=config) for argument in arguments))
    assert code == 2
    assert out == ""
    *log, error = err.splitlines()
    assert all(DATED.match(line) for line in log)
    assert error.startswith("error: ")
    assert re.search(message, error), err
    assert "Traceback" not in out + err
    left = {path.name for path in Path.cwd().iterdir()}
    assert left <= ({"o"} if "registry.name=a/b" in arguments else set())  # a dataset is no half-written one


def test_an_error_of_the_disk_is_one_line_too(recsys, config):
    Path("o").touch()
    code, _, err = recsys("build", "--config", config, "--out", "o/dataset")
    assert code == 2
    assert err.splitlines()[-1].startswith("error: ")


def test_a_traceback_on_request(recsys, monkeypatch):
    monkeypatch.setenv("RECSYS_TRACEBACK", "1")
    with pytest.raises(ValueError, match="no finished training"):
        recsys("publish", "--run", "r")


@pytest.mark.parametrize("wanted", ["0", "1"])
def test_stacks_of_a_panic_are_printed_on_request_only(monkeypatch, wanted):
    monkeypatch.setenv("RUST_BACKTRACE", "full")
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    monkeypatch.setattr(sys, "argv", ["recsys", "--version"])
    if wanted == "1":
        monkeypatch.setenv("RECSYS_TRACEBACK", "1")
    with pytest.raises(SystemExit, match="0"):
        cli.main()
    assert os.environ["RUST_BACKTRACE"] == wanted


def messages(err):
    """The lines of a log without their time stamps, all of which must have one."""
    lines = [line for line in err.splitlines() if not line.startswith("next: ")]
    assert all(DATED.match(line) for line in lines)
    return [DATED.sub("", line) for line in lines]


def test_a_run_shows_its_six_stages_and_goes_on(recsys, config, registry_uri):
    settings = ["--set", "training.learning_rate=0.01", "--set", "model.max_history=20"]
    code, out, err = recsys("run", "--config", config, "--out", "run", *settings, "--registry", registry_uri)
    assert code == 0
    assert "mine version 1 is challenger" in out
    assert out.splitlines()[-1] == "report: run/report.html"
    assert " 0 " not in out.splitlines()[0]
    stages = [message for message in messages(err) if message.startswith("stage")]
    names = ["build the dataset", "train", "seal the bundle", "evaluate on held-out users", "write the report",
             "register the version"]  # fmt: skip
    assert stages == [f"stage {number} of 6: {name}" for number, name in enumerate(names, start=1)]
    assert len([message for message in messages(err) if ": done in " in message]) == 6
    assert any(message.startswith("epoch 1/1") for message in messages(err))
    assert f"next: recsys promote mine --registry {registry_uri}" in err.replace(program(), "recsys")

    code, again, _ = recsys("run", "--config", config, "--out", "run", *settings, "--registry", registry_uri)
    assert (code, again) == (0, out)
    code, _, err = recsys("run", "--config", config, "--out", "run", "--registry", registry_uri)
    assert code == 2
    assert "train into another --out" in err


@pytest.fixture(scope="module")
def champion(small_run, tmp_path_factory, empty_registry):
    """The URI of a registry in which version 1 of the small model is champion."""
    path = tmp_path_factory.mktemp("champion") / "mlflow.db"
    shutil.copy(empty_registry, path)
    uri = f"sqlite:///{path}"
    store = Registry(uri)
    version = store.publish("small", small_run.run / "bundle", small_run.bundle_id, EMPTY_RECORD)
    store.move("small", "champion", version)
    return uri


def test_a_log_is_scored_and_one_answer_is_looked_at(recsys, small_run, champion):
    log = ["--bundle", "models:/small@champion", "--events", small_run.folder / "events.parquet"]
    code, out, err = recsys("score", *log, "--registry", champion, "--out", "recs", "--k", "7")
    assert code == 0
    assert out.startswith("recs: 300 users, 2,100 recommendations")
    assert pl.read_parquet("recs/part-*.parquet").height == 2_100
    assert [message for message in messages(err) if message.startswith("stage")][-1] == "stage 3 of 3: score"
    following = shlex.split(err.splitlines()[-1].removeprefix(f"next: {program()} "))
    code, out, _ = recsys(*following)
    assert code == 0
    assert out.startswith(f"user {following[following.index('--user') + 1]} of ")
    code, _, err = recsys("score", *log, "--registry", champion, "--out", "recs", "--k", "8")
    assert code == 2
    assert "recs holds scores of another k (7, now 8); give a new --out, or recsys nightly a new --night" in err
    items = ["--items", small_run.folder / "items.parquet", "--users", small_run.folder / "users.parquet"]
    code, out, _ = recsys("score", *log, *items, "--registry", champion, "--out", "recs2", "--no-exclude-seen")
    assert code == 0


def test_after_a_promotion_the_log_of_the_training_is_scored(recsys, champion):
    code, out, err = recsys("promote", "small", "--registry", champion)
    assert (code, out) == (0, "small version 1 is champion already\n")
    following = err.splitlines()[-1]
    assert following.endswith(f"score --bundle models:/small@champion --events log --out recs --registry {champion}")


def test_every_command_returns_one_json_object(recsys, small_run, champion):
    bundle = ["--bundle", "models:/small@champion", "--registry", champion]
    log = ["--events", small_run.folder / "events.parquet"]
    queries = small_run.dataset.queries("test")
    queries.write_parquet("queries.parquet")
    for name, arguments, expected in (
        ("config", ["config"], {}),
        ("doctor", ["doctor"], {"healthy": True}),
        ("score", ["score", *bundle, *log, "--out", "recs", "--k", "3"], {"out": "recs"}),
        ("recommend", ["recommend", *bundle, "--history", "i00001", "i00002"], {"user": None}),
        ("evaluate", ["evaluate", *bundle, "--queries", "queries.parquet"], {"num_queries": queries.height}),
        ("compare", ["compare", "models:/small/1", "models:/small/1", *log, "--registry", champion], {"page": None}),
    ):
        code, out, err = recsys(*arguments, "--json")
        (line,) = out.splitlines()
        result = json.loads(line)
        assert (code, result["exit_code"], result["command"]) == (0, 0, name), err
        assert result["seconds"] >= sum(result["stages"].values()) - 0.01
        assert "next" in result
        assert expected.items() <= result.items()
        announced = [message for message in messages(err) if message.startswith("stage ")]
        assert name == "config" or re.match(r"stage (\d+) of \1: ", announced[-1]), announced


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
@pytest.mark.parametrize("name", ["score", "recommend", "evaluate", "publish"])
def test_the_device_of_a_command(recsys, small_run, name, tmp_path):
    """Where there is no GPU, "auto" is the CPU, and "cuda" one line."""
    bundle = ["--bundle", small_run.run / "bundle"]
    small_run.dataset.queries("test").write_parquet("queries.parquet")
    arguments = {
        "score": [*bundle, "--queries", "queries.parquet", "--out", "recs", "--k", "3"],
        "recommend": [*bundle, "--history", "i00001", "i00002"],
        "evaluate": [*bundle, "--queries", "queries.parquet"],
        "publish": ["--run", small_run.run, "--registry", f"sqlite:///{tmp_path}/mlflow.db"],
    }[name]
    code, out, err = recsys(name, *arguments, "--device", "cuda")
    assert (code, out) == (2, "")
    assert "the device is 'cuda', but torch finds no NVIDIA GPU here; install the extra cuda on a machine that" in err
    assert not Path("recs").exists()
    if name != "publish":  # test_publish.py does
        answers = []
        for device in ("cpu", "auto"):
            shutil.rmtree("recs", ignore_errors=True)
            code, out, err = recsys(name, *arguments, "--device", device, "--json")
            assert code == 0, err
            answers.append({key: value for key, value in json.loads(out).items() if key not in ("seconds", "stages")})
        assert answers[0] == answers[1]


def test_only_the_result_goes_to_stdout(config, tmp_path):
    """A new registry in a process of its own: no warning, no migration, no progress bar."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW", "PYTHONWARN"))}
    command = [sys.executable, "-m", "recsys.cli", "run", "--config", str(config), "--out", "run", "--json"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    result = json.loads(done.stdout)
    assert (result["command"], result["exit_code"], result["name"], result["version"]) == ("run", 0, "mine", 1)
    stages = [message for message in messages(done.stderr) if message.startswith("stage ")]
    assert [message.partition(": ")[2] for message in stages] == list(result["stages"])
    assert {path.name for path in tmp_path.iterdir()} == {"my.toml", "run", "mlflow.db", "mlartifacts"}
    shutil.rmtree(tmp_path / "mlartifacts")
