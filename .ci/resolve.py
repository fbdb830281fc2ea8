"""Ask pip whether it could install every extra of pyproject.toml, without installing anything.

    make resolve

Each extra is resolved alone, and all but `cpu` together, as a machine with a GPU takes them. The result is what a user
without any configuration of pip gets, so pip's files and its additional indexes are left out: they may offer another
build of torch. An index in PIP_INDEX_URL stays. Exit code 1, with the resolver's words, where an extra cannot be
installed or no index answers.
"""

import json
import os
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

PIP = "pip>=25.3"  # older ones download every wheel, gigabytes of them, before they say what they would install
LEFT_OUT = ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "PIP_CONSTRAINT")


def installations(pyproject: str) -> dict[str, list[str]]:
    """What to resolve: the requirements of every installation, by its extras.

    Args:
        pyproject: The content of pyproject.toml.
    """
    project = tomllib.loads(pyproject)["project"]
    extras: dict[str, list[str]] = project["optional-dependencies"]
    together = [name for name in extras if name != "cpu"]
    needed = {name: project["dependencies"] + requirements for name, requirements in extras.items()}
    needed[",".join(together)] = project["dependencies"] + [line for name in together for line in extras[name]]
    return needed


def environment(of: Mapping[str, str]) -> dict[str, str]:
    """The environment variables without what adds packages to the index."""
    return {name: value for name, value in of.items() if name not in LEFT_OUT} | {"PIP_CONFIG_FILE": os.devnull}


def dry_run(requirements: list[str], variables: dict[str, str]) -> dict[str, str]:
    """The versions that pip would install, by name.

    Raises RuntimeError with the resolver's words where it finds none.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--progress-bar=off"]
        command += ["--use-feature=fast-deps", "--report", str(report), *requirements]
        done = subprocess.run(
            command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(done.stdout[max(0, done.stdout.find("ERROR: ")) :])
        installed = json.loads(report.read_text())["install"]
    return {part["metadata"]["name"].lower().replace("_", "-"): part["metadata"]["version"] for part in installed}


def outcome(requirements: list[str], variables: dict[str, str]) -> tuple[bool, str]:
    """Whether the requirements can be installed, and the versions of torch and what comes with it, or why not."""
    try:
        versions = dry_run(requirements, variables)
    except RuntimeError as error:
        return False, str(error)
    shown = ("torch", "torchrec", "fbgemm", "triton", "faiss")
    named = [f"{name} {version}" for name, version in versions.items() if name.startswith(shown)]
    return True, ", ".join([f"{len(versions)} packages", *sorted(named)])


def main() -> int:
    """Print one line for each installation, or the reason why it fails; returns the exit code."""
    pyproject = (Path(__file__).parents[1] / "pyproject.toml").read_text()
    needed = installations(pyproject)
    with tempfile.TemporaryDirectory() as folder:
        variables = environment(os.environ)
        get_pip = [sys.executable, "-m", "pip", "install", "--quiet", "--target", folder, PIP]
        subprocess.run(get_pip, env=variables, check=True)
        variables["PYTHONPATH"] = folder
        with ThreadPoolExecutor(4) as threads:
            outcomes = list(threads.map(partial(outcome, variables=variables), needed.values()))
    for name, (resolved, words) in zip(needed, outcomes, strict=True):
        sys.stdout.write(f"[{name}]: {words}\n" if resolved else f"[{name}] cannot be installed:\n{words}\n")
    return 0 if all(resolved for resolved, _ in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
