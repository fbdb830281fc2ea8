"""What the README shows is true: its Python runs, its commands exist with the flags it gives them."""

import re
import shlex
from pathlib import Path

import pytest

from recsys.cli import app

README = (Path(__file__).parents[1] / "README.md").read_text()
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", README, flags=re.DOTALL)


def commands():
    for language, block in BLOCKS:
        if not language:
            for line in block.replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True)
                if "recsys" in words:
                    yield words[words.index("recsys") + 1 :]


def test_python_of_the_readme_runs(small_run, tmp_path, monkeypatch):
    (tmp_path / "demo").symlink_to(small_run.folder)
    monkeypatch.chdir(tmp_path)
    (code,) = [block for language, block in BLOCKS if language == "python"]
    names: dict[str, object] = {}
    exec(code, names)  # the point of the test
    assert len(names["answers"]) == 2


@pytest.mark.parametrize("command", [command for command in commands() if command[:1]], ids=" ".join)
def test_command_of_the_readme_parses(command):
    if command[0].startswith(("-", "<", "demo/", "&&")):
        pytest.skip("no command of ours")
    _, bound, _ = app.parse_args(command, exit_on_error=False, print_error=False)
    assert bound.arguments
