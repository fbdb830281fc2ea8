"""What is suggested, and how the parts of a configuration are written as TOML."""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

COMMON = ("events", "event", "log", "logs", "data", "train", "interactions", "orders", "transactions", "ratings")


@dataclass(frozen=True)
class StarterConfig:
    """A suggested configuration.

    Attributes:
        toml: The commented file.
        found: What was found in the files, and why it was taken so, in lines.
        undecided: What only the user can decide; the configuration does not run before.
        tables: What is to be written beside the configuration, by file name.
    """

    toml: str
    found: list[str]
    undecided: list[str]
    tables: dict[str, pl.DataFrame] = field(default_factory=dict)


def quoted(value: str) -> str:
    """Text as a value in TOML."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def in_comment(text: str) -> str:
    """Text on one line, without the control characters that TOML forbids in comments."""
    return "".join(character if character.isprintable() else " " for character in text)


def model_name(path: Path) -> str:
    """A name for the model that the registry takes: after the log, or its folder where the log's name says nothing."""
    names = [path.name.split(".")[0], path.resolve().parent.name]
    candidates = [re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-").lower() for name in names]
    return next((name for name in candidates if name and name not in COMMON), "model")
