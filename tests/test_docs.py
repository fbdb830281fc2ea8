"""The documentation names what exists, names all of it, and is readable offline."""

import importlib.util
import pkgutil
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from recsys.cli import app
from recsys.config import Config, parse_config
from recsys.config_reference import sections

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
STAGES = ("recsys", "features", "training", "serving")
STAGES_OR = "|".join(STAGES)
GENERATED = {"reference/cli.md", "reference/config.md"}
PAGES = sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))
CURRENT = [*(page for page in PAGES if page != "LOG.md"), "../README.md"]  # the log keeps the names of its day
FENCED = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```", re.DOTALL | re.MULTILINE)
KEYS = {key.name for section in sections() for key in section.keys}
KEY = re.compile(rf"`(?:--set )?((?:{'|'.join(Config.model_fields)})\.[a-z_]+)(?:=[^`]*)?`")
FILES = {"py", "json", "toml", "safetensors", "parquet", "arrow"}


def generator():
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["generate"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


GENERATE = generator()
COMMANDS = {command.words: command for command in GENERATE.commands()}


def blocks(text, *languages):
    return [block for _, language, block in FENCED.findall(text) if language in languages]


def invocations(text):
    """Every ``recsys ...`` of a page, in a block of commands or in the prose, unless an error is its point."""
    shown = "\n".join(blocks(text, "", "sh", "text")).replace("\\\n", " ")
    lines = re.sub(r"^\$ (?:.*\nerror: )?", "", shown, flags=re.MULTILINE).splitlines()
    spans = re.findall(r"`([^`\n]+)`", FENCED.sub("", text))
    for line in [*lines, *spans]:
        match = re.match(r"(?:torchrun .*|[A-Z_]+=\S+ |\.venv/bin/)?\brecsys (.+)", line)
        if match:
            yield shlex.split(match[1], comments=True)


def command_of(words):
    """The longest prefix of the words that is a command or a group of commands."""
    parent, path = app, "recsys"
    for word in words:
        if word.startswith("-") or word not in list(parent):
            break
        parent, path = parent[word], f"{path} {word}"
    return path


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def nav_pages(entries):
    for entry in entries:
        target = next(iter(entry.values()))
        yield from nav_pages(target) if isinstance(target, list) else [target]


def test_every_page_is_in_the_navigation():
    (nav,) = re.findall(r"^nav:\n(?:[ ].*\n)+", (ROOT / "mkdocs.yml").read_text(), flags=re.MULTILINE)
    assert sorted(nav_pages(yaml.safe_load(nav)["nav"])) == sorted({*PAGES, *GENERATED})


@pytest.mark.parametrize("words", COMMANDS)
def test_every_command_and_argument_is_documented(words):
    command = COMMANDS[words]
    assert len(command.summary.split()) >= 4
    assert command.example.startswith(words)
    undocumented = [argument.name for argument in command.arguments if not argument.parameter.help]
    assert not undocumented
    arguments = shlex.split(command.example.partition(" > ")[0])[1:]
    app.parse_args(arguments, exit_on_error=False, print_error=False)
    page = GENERATE.cli_page()
    assert f"## {words}\n" in page


def test_every_key_is_on_the_page_of_the_configuration():
    page = GENERATE.config_page()
    assert all(f"`{key}`" in page for key in KEYS)


@pytest.mark.parametrize("page", CURRENT)
def test_commands_and_flags_named_in_a_page_exist(page):
    for words in invocations((DOCS / page).read_text()):
        path = command_of(words)
        assert path != "recsys" or words[0] in {"--help", "--version", "COMMAND"}, words
        if path in COMMANDS:
            known = {name for argument in COMMANDS[path].arguments for name in argument.names} | {"--help"}
            unknown = {word.partition("=")[0] for word in words if word.startswith("--")} - known
            assert not unknown, words


@pytest.mark.parametrize("page", [page for page in CURRENT if page != "benchmarks.md"])  # its flags are of scripts
def test_flags_that_stand_alone_exist(page):
    known = {name for command in COMMANDS.values() for argument in command.arguments for name in argument.names}
    of_mlflow = {"--backend-store-uri"}
    assert set(re.findall(r"`(--[a-z-]+)[^`]*`", (DOCS / page).read_text())) <= known | of_mlflow


@pytest.mark.parametrize("page", CURRENT)
def test_keys_named_in_a_page_exist(page):
    text = (DOCS / page).read_text()
    named = {name for name in KEY.findall(text) if name.rpartition(".")[2] not in FILES}
    named |= {name for words in invocations(text) for name in re.findall(r"([a-z_]+\.[a-z_]+)=", " ".join(words))}
    assert named <= KEYS
    for block in blocks(text, "toml"):
        tree = tomllib.loads(block)
        parse_config({**tree, "data": {"events": "events.parquet"} | tree.get("data", {})}, page)


@pytest.mark.parametrize("page", ["index.md", "guides/python.md"])
def test_python_of_a_page_runs(page, small_run, tmp_path, monkeypatch):
    (tmp_path / "demo").symlink_to(small_run.folder)
    monkeypatch.chdir(tmp_path)
    names = {}
    exec("\n".join(blocks((DOCS / page).read_text(), "python")), names)  # the point of the test
    assert len(names["answers"]) == 2


def test_the_evaluators_print_what_the_page_says(capsys):
    """It loads a pretrained encoder, as whoever follows the page does."""
    page = (DOCS / "alignment.md").read_text()
    section = page[page.index("## Measure a model of texts") :]
    exec(blocks(section, "python")[0], {})
    assert capsys.readouterr().out == blocks(section, "text")[0]


def test_the_tree_lists_every_module():
    (tree,) = blocks((DOCS / "architecture.md").read_text(), "tree")
    listed, folders = set(), []
    for line in tree.splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        name = line.split()[0]
        folders = [*folders[:depth], name]
        listed.add("".join(folders))
    modules = {path.relative_to(ROOT) for stage in STAGES for path in (ROOT / stage).rglob("*.py")}
    present = {
        f"{module.parent}/" if module.stem == "__init__" else module.with_suffix("").as_posix() for module in modules
    }
    assert sorted(present - listed) == [], "add a line for each to the tree in docs/architecture.md"
    assert sorted(listed - present) == [], "remove each from the tree in docs/architecture.md"


@pytest.mark.parametrize("page", CURRENT)
def test_modules_and_functions_named_in_a_page_exist(page):
    text = (DOCS / page).read_text()
    for path in re.findall(rf"`((?:{STAGES_OR}|docs|tests|examples)/[\w/.-]*)`", text):
        assert (ROOT / path).exists(), path
    for name in re.findall(rf"`((?:{STAGES_OR})(?:\.\w+){{2,}})`", text):
        pkgutil.resolve_name(name)


def test_the_site_loads_nothing_from_elsewhere(site):
    pages = list(site.rglob("*.html"))
    assert {page.relative_to(site).with_suffix(".md").as_posix() for page in pages} == {*PAGES, *GENERATED, "404.md"}
    remote = re.compile(r"""<(?:script|img|link|iframe|source|object)\b[^>]*\b(?:src|href|data)=["']?(?:https?:)?//""")
    for page in pages:
        assert not remote.search(page.read_text()), page
    for style in site.rglob("*.css"):
        assert not re.search(r"""(?:url\(|@import )["']?(?:https?:)?//""", style.read_text()), style


def test_the_site_can_be_searched_without_a_server(site):
    index = (site / "search" / "search_index.js").read_text()
    assert index.startswith("var __index = ")
    assert "training.epochs" in index
    assert "assets/iframe-worker.js" in (site / "index.html").read_text()
