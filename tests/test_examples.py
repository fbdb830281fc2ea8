"""The quick start runs, and the example configurations follow the protocols of their data.

The latter need the real data, and are skipped where ../shared/data is absent.
"""

import ast
import json
import re
import runpy
import tomllib
from pathlib import Path

import pytest

from features.build import build
from recsys.cli import app
from recsys.config import load_config

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data"
EXAMPLES = {  # inputs beside the events, and (users, items, test queries) as the data set's protocol has them
    "ml-1m": ({}, (6_040, 3_416, 6_040)),
    "amazon-beauty": ({"data.items": "items.parquet"}, (22_363, 12_101, 22_363)),
    "gowalla": ({"data.events": "train.parquet", "split.test": "test.parquet"}, (29_858, 40_981, 29_858)),
    "ml-100k": ({}, (943, 1_682, 226)),
}


def test_every_example_is_listed_and_loads():
    assert {path.stem for path in (ROOT / "examples").glob("*.toml")} == set(EXAMPLES)
    for path in (ROOT / "examples").glob("*.toml"):
        assert load_config(path).registry.name == path.stem


@pytest.mark.data
@pytest.mark.parametrize("name", EXAMPLES)
def test_example_follows_its_protocol(name, tmp_path):
    if not DATA.is_dir():
        pytest.skip("no real data at ../shared/data")
    files, expected = EXAMPLES[name]
    files = {"data.events": "events.parquet"} | files
    settings = tuple(f"{key}={DATA / name / file}" for key, file in files.items())
    dataset = build(load_config(ROOT / "examples" / f"{name}.toml", settings), tmp_path / "dataset")
    statistics = dataset.manifest.statistics
    assert (statistics.users, statistics.items, statistics.test_queries) == expected


def test_the_quick_start_ends_with_a_promoted_version_and_two_answers(tmp_path, capsys):
    main = runpy.run_path(str(ROOT / "examples" / "quickstart.py"))["main"]
    main.__globals__["CONFIG"] += "[model]\nnum_members = 1\nembedding_dim = 32\n"  # a smaller model, for time
    main(tmp_path)
    printed = capsys.readouterr().out
    assert "quickstart version 1 promoted" in printed
    assert printed.count("5 recommendations for 1 query") == 2


@pytest.mark.parametrize(("name", "needs"), [("airflow_nightly", "airflow"), ("dagster_nightly", "dagster")])
def test_a_job_of_an_orchestrator_calls_a_command_that_exists(name, needs):
    """The orchestrators are not installed here; that they take the files was tried by hand (docs/guides/nightly.md)."""
    tree = ast.parse((ROOT / "examples" / f"{name}.py").read_text())
    commands = [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.List)]
    typed = next(ast.literal_eval(text.replace("str(ds)", "'n'").replace(" night]", " 'n']")) for text in commands)
    app.parse_args(typed[1:], exit_on_error=False, print_error=False)
    imported = {node.module.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert needs in imported


def test_the_container_gets_all_that_it_installs_and_starts_the_service():
    """docs/guides/serving.md says how its steps were tried."""
    steps = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    copied = " ".join(re.findall(r"^COPY (.+) \S+$", steps, flags=re.MULTILINE)).split()
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert sorted(copied) == sorted(allowed)
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert {*packages, project["project"]["readme"]} <= {*copied}
    assert all((ROOT / path).exists() for path in copied)
    (started,) = re.findall(r"^ENTRYPOINT (.+)$", steps, flags=re.MULTILINE)
    program, *arguments = json.loads(started)
    _, bound, _ = app.parse_args([*arguments, "models:/shop@champion"], exit_on_error=False, print_error=False)
    assert (program.rpartition("/")[2], arguments[0], bound.arguments["host"]) == ("recsys", "serve", "0.0.0.0")
    (user,) = re.findall(r"^USER (.+)$", steps, flags=re.MULTILINE)
    assert f"useradd --system --create-home --home-dir {bound.arguments['cache'].parent} {user}" in steps
