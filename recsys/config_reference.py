"""The reference of the configuration, read off its models: every key with its default, its values and its meaning."""

import json
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .config import Config

HEADER = """\
# Every key of a configuration. Only data.events must be set; a key without a value is not set.
# To change a key, set it in your file, or pass it to a command: --set training.epochs=20
"""
EXAMPLE_LOG = '"events.parquet"'
TYPES = {"integer": "whole number", "number": "number", "string": "text", "boolean": "true or false", "array": "tables"}
BOUNDS = {
    "minimum": "at least",
    "exclusiveMinimum": "above",
    "maximum": "at most",
    "exclusiveMaximum": "below",
    "multipleOf": "a multiple of",
}


Schema = dict[str, Any]  # a part of the JSON schema that pydantic derives from the models


@dataclass(frozen=True)
class Key:
    """One key of the configuration.

    Attributes:
        name: As ``--set`` takes it, such as ``training.epochs``; a feature's keys are ``features.item.name``.
        values: What it accepts, in words.
        default: A TOML literal; None where the key is required or not set by default.
        required: Whether there is no default.
        meaning: What the key does, one paragraph.
    """

    name: str
    values: str
    default: str | None
    required: bool
    meaning: str


@dataclass(frozen=True)
class Section:
    """One section of the configuration: its name, what it is about, and its keys in order."""

    name: str
    meaning: str
    keys: tuple[Key, ...]


def sections() -> list[Section]:
    """List every section and key in the order of the models."""
    schema = Config.model_json_schema()
    listed = []
    for name, reference in schema["properties"].items():
        model = _resolve(reference, schema)
        listed.append(Section(name, _words(model), tuple(_keys(f"{name}.", model, schema))))
    return listed


def as_toml() -> str:
    """Write a complete configuration in which every key with a default is commented out.

    Prose follows ``# ``, a commented key follows ``#`` without a space, so that the text is valid TOML as it is, and
    also once every key is uncommented; both are the default configuration of a log at ``events.parquet``.
    """
    lines = [HEADER]
    for section in sections():
        lines += [*_comment(section.meaning), f"[{section.name}]", ""]
        for key in section.keys:
            lines += [
                *_comment(f"{key.name}: {key.values}{'. Required.' if key.required else ''}"),
                *_comment(key.meaning),
            ]
            name = key.name.removeprefix(f"{section.name}.")
            if key.name == "data.events":
                lines.append(f"{name} = {EXAMPLE_LOG}")
            elif key.default is not None:
                lines.append(f"#{name} = {key.default}")
            lines.append("")
    return "\n".join(lines)


def _keys(prefix: str, model: Schema, schema: Schema) -> Iterator[Key]:
    """The keys of one model, and after a list of tables the keys of each table."""
    required = model.get("required", ())
    for name, key in model["properties"].items():
        default = key.get("default")
        literal = None if default is None else json.dumps(default)  # scalars and lists are alike in JSON and TOML
        yield Key(prefix + name, _values(key), literal, name in required, _words(key))
        if "$ref" in key.get("items", {}):
            yield from _keys(f"{prefix}{name}.", _resolve(key["items"], schema), schema)


def _resolve(reference: Schema, schema: Schema) -> Schema:
    """The definition that a ``$ref`` such as ``#/$defs/DataConfig`` points to."""
    model: Schema = schema["$defs"][reference["$ref"].rpartition("/")[2]]
    return model


def _values(key: Schema) -> str:
    """What a key accepts, in words."""
    texts: list[str] = []
    for option in key.get("anyOf", [key]):
        if "enum" in option:
            texts += [f'"{value}"' for value in option["enum"]]
        elif "enum" in option.get("items", {}):
            texts.append(f"a list of {_values(option['items'])}")
        elif option["type"] != "null":
            bounds = [f", {words} {option[bound]:g}" for bound, words in BOUNDS.items() if bound in option]
            texts.append(TYPES[option["type"]] + "".join(bounds))
    if "number" in texts and "whole number" in texts:
        texts.remove("whole number")
    return " or ".join(filter(None, [", ".join(texts[:-1]), texts[-1]]))


def _words(schema: Schema) -> str:
    return " ".join(schema["description"].split())


def _comment(text: str) -> list[str]:
    return textwrap.wrap(text, 100, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)
