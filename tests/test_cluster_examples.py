"""What examples/cluster starts are commands of recsys with their own flags; docs/scale.md says where they ran."""

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from recsys.cli import app

FOLDER = Path(__file__).parents[1] / "examples" / "cluster"
SCRIPTS, MANIFESTS = sorted(FOLDER.glob("*.sbatch")), sorted(FOLDER.glob("*.yaml"))


def _pods(value: Any) -> list[dict[str, Any]]:
    """What is said of every pod in a manifest."""
    if isinstance(value, list):
        return [pod for member in value for pod in _pods(member)]
    if not isinstance(value, dict):
        return []
    return [value] if "containers" in value else [pod for member in value.values() for pod in _pods(member)]


def _commands(path: Path) -> list[list[str]]:
    """The commands of recsys that a file starts or shows; those of a script end with what its usage line gives it."""
    if path.suffix == ".sbatch":
        text = path.read_text().replace("\\\n", " ")
        shown = re.findall(rf"sbatch .*?{path.name} (.*)", text)
        started = re.findall(r"recsys (.*)", text.partition("set -euo")[2])
        filled = [line.replace('"$head"', "host:6379").replace('"$@"', flags) for line in started for flags in shown]
        return [shlex.split(line) for line in filled]
    manifests = list(yaml.safe_load_all(path.read_text()))
    words = [shlex.split(manifest["spec"].get("entrypoint", "")) for manifest in manifests]
    words += [container.get("args", []) for pod in _pods(manifests) for container in pod["containers"]]
    return [line[line.index("recsys") + 1 :] for line in words if "recsys" in line]


@pytest.mark.parametrize("path", SCRIPTS + MANIFESTS, ids=lambda path: path.name)
def test_an_example_starts_a_command_that_exists(path: Path) -> None:
    commands = _commands(path)
    assert len(commands) == 1
    for command in commands:
        app.parse_args(command, exit_on_error=False)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_script_is_valid_bash(path: Path) -> None:
    subprocess.run(["bash", "-n", str(path)], check=True)


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_every_container_mounts_a_volume_that_its_pod_has(path: Path) -> None:
    pods = _pods(list(yaml.safe_load_all(path.read_text())))
    assert pods
    for pod in pods:
        volumes = {volume["name"] for volume in pod["volumes"]}
        for container in pod["containers"]:
            assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
