"""Generated pages of the site: the command line and the configuration, read off the code when mkdocs builds.

mkdocs calls the ``on_*`` functions (``hooks`` in mkdocs.yml). The pages never lie on disk, so they cannot be stale.
"""

import inspect
from collections.abc import Iterator
from dataclasses import dataclass

from cyclopts import App
from cyclopts.argument import Argument
from docstring_parser import parse
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from recsys.cli import app
from recsys.config_reference import Key, sections

CLI_INTRODUCTION = """\
# Command line

Generated from the code. `recsys COMMAND --help` shows the same text in a terminal.

Exit codes: 0 done; 1 a bug, with a traceback; 2 bad input, with one line that says what was found, what was
expected and what to do; 3 the gate refused a version.
"""
CONFIG_INTRODUCTION = """\
# Configuration

Generated from the code. `recsys config` prints the same as a commented TOML file.

A configuration is a TOML file; a command takes it with `--config`. Each key below can also be set for one command, as
in `--set training.epochs=20`: the value is a TOML literal, or else a string. Paths in the file are relative to the
file, paths in `--set` to the working directory. An unknown key is refused with the nearest valid one, and a wrong value
with what was expected.

A key that is *not set* is chosen from the data when training starts, or is not used. `training/recipe.py` makes the
choices, and the report shows them.
"""


@dataclass(frozen=True)
class Command:
    """One command with the texts of its help; ``words`` is what a person types, such as ``recsys run``."""

    words: str
    summary: str
    example: str
    arguments: tuple[Argument, ...]


def commands(parent: App = app, words: str = "recsys") -> Iterator[Command]:
    """Every command that runs something, in the order of the code."""
    for name in parent:
        if name.startswith("-"):
            continue
        child = parent[name]
        path = f"{words} {name}"
        if child.default_command is not None:
            summary, example = help_texts(child.default_command.__doc__ or "")
            yield Command(path, summary, example, tuple(child.assemble_argument_collection(parse_docstring=True)))
        yield from commands(child, path)


def help_texts(docstring: str) -> tuple[str, str]:
    """The description of a command and the line of its example; both may be empty."""
    text = parse(docstring).description or ""
    description, _, example = text.partition("Example: ")
    return " ".join(description.split()), " ".join(example.split())


def cli_page() -> str:
    """The page of the command line in Markdown."""
    parts = [CLI_INTRODUCTION]
    for command in commands():
        parts.append(f"## {command.words}\n\n{command.summary}\n\n```\n{command.example}\n```\n")
        rows = [f"| {_names(argument)} | {_argument_help(argument)} |" for argument in command.arguments]
        if rows:
            parts.append("\n".join(["| argument | meaning |", "|---|---|", *rows]) + "\n")
    return "\n".join(parts)


def config_page() -> str:
    """The page of the configuration in Markdown."""
    parts = [CONFIG_INTRODUCTION]
    for section in sections():
        parts.append(f"## [{section.name}] {{ #{section.name} }}\n\n{section.meaning}\n")
        parts += ["| key and default | meaning and values |", "|---|---|", *map(_config_row, section.keys), ""]
    return "\n".join(parts)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    for path, page in (("reference/cli.md", cli_page), ("reference/config.md", config_page)):
        files.append(File.generated(config, path, content=page()))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Rank the long log of experiments below the pages that explain."""
    if page.file.src_uri == "LOG.md":
        page.meta["search"] = {"boost": 0.5}
    return markdown


def _names(argument: Argument) -> str:
    """What a person types: a positional argument in capitals, the negative of a flag only if it is on by default."""
    info = argument.field_info
    if info.kind is not inspect.Parameter.KEYWORD_ONLY:
        return f"`{info.name.upper()}`"
    return ", ".join(f"`{name}`" for name in argument.names if info.default is True or name not in argument.negatives)


def _argument_help(argument: Argument) -> str:
    text = _cell(argument.parameter.help or "")
    if argument.required:
        return f"{text} **Required.**"
    default = argument.field_info.default
    return text if default in (None, False, inspect.Parameter.empty) else f"{text} Default: `{default}`."


def _config_row(key: Key) -> str:
    default = "**required**" if key.required else "*not set*" if key.default is None else f"`{key.default}`"
    name = f'<span id="{key.name}">`{key.name}`</span>'  # to link to
    return f"| {name}<br>{default} | {_cell(key.meaning)}<br>*{_cell(key.values)}* |"


def _cell(text: str) -> str:
    """A text as one cell of a Markdown table: a sentence without characters that Markdown reads as markup."""
    first_word = text.split(" ", 1)[0]
    sentence = (text[:1].upper() + text[1:] if first_word.rstrip(",;:").isalpha() else text).rstrip(".") + "."
    return sentence.replace("|", "\\|").replace("*", "\\*").replace("<", "&lt;")
