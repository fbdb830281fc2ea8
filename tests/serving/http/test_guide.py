"""What the guide shows is asked and answered: the same members, and the same error."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGES = [(ROOT / name).read_text().replace("\\\n", "") for name in ("docs/guides/serving.md", "README.md")]
SHOWN = [shown for page in PAGES for shown in re.findall(r"^\$ (curl .*)\n(.*)$", page, flags=re.MULTILINE)]


@pytest.mark.parametrize(("line", "shown"), SHOWN)
def test_curl_lines_answer_as_shown(client, line, shown):
    words = shlex.split(line)
    (path,) = (word[word.index("/v1/") :] for word in words if "/v1/" in word)
    (body,) = (word for word in words if word.startswith("{"))
    answer, shown = client.post(path, json=json.loads(body)).json(), json.loads(shown)
    assert answer.keys() == shown.keys()
    assert answer.get("error") == shown.get("error")
    for item, expected in zip(answer.get("items", []), shown.get("items", []), strict=True):
        assert item.keys() == expected.keys()
    assert len(SHOWN) == 4


def test_the_client_of_the_examples_shows_titles(client, small_run):
    command = [sys.executable, ROOT / "examples/serve_client.py", str(client.base_url).rstrip("/"), "i00007"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert len(said) == 5
    assert said[0].split(maxsplit=2)[2] in small_run.items["title"].to_list()
