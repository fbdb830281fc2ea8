"""Configuration files: TOML and ``--set`` overrides to a validated ``Config``. The keys are in keys.py."""

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from ..errors import InputError
from ..paths import absolute_location
from .keys import Config

EARLIER_NAMES = {"model.history": "model.history_encoder"}
_PATHS = (("data", "events"), ("data", "items"), ("data", "users"), ("split", "test"))


def load_config(path: Path, overrides: tuple[str, ...] = ()) -> Config:
    """Read a TOML file and apply overrides.

    Args:
        path: The TOML file. Paths inside it are relative to its folder.
        overrides: ``section.key=value``, each value a TOML literal or else a string; later ones win. Paths in them
            are relative to the working directory.

    Returns:
        The validated, frozen configuration, with absolute paths.

    Raises:
        InputError: One line that names the key, what was found and what would be valid.
    """
    if not path.is_file():
        raise InputError(f"no config at {path}; expected a TOML file: give its path with --config")
    try:
        tree = tomllib.loads(path.read_text("utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not valid TOML: {error}") from error
    _make_paths_absolute(tree, path.resolve().parent)
    for override in overrides:
        _apply(tree, override)
    _make_paths_absolute(tree, Path.cwd())
    return parse_config(tree, str(path))


def with_overrides(config: Config, overrides: tuple[str, ...], source: str) -> Config:
    """Apply ``section.key=value`` overrides to a loaded configuration.

    Args:
        config: The configuration; it is not changed.
        overrides: As in ``load_config``.
        source: Names the configuration in errors.

    Raises:
        InputError: As in ``load_config``.
    """
    tree = config.model_dump(mode="json")
    for override in overrides:
        _apply(tree, override)
    return parse_config(tree, source)


def parse_config(tree: Mapping[str, Any], source: str) -> Config:
    """Validate a parsed configuration.

    Args:
        tree: Sections, as ``tomllib`` returns them.
        source: Names the configuration in errors.

    Raises:
        InputError: As in ``load_config``.
    """
    _refuse_unknown_keys(tree, Config, source, ())
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{source}: {_complaint(key, first['type'], first['msg'], first['input'])}") from error


def _complaint(key: str, kind: str, message: str, value: object) -> str:
    """Turn pydantic's first error into one line: the key, the value found, what was expected."""
    if kind == "missing":
        return f"{key} is missing; a config names the log as [data] events, and every feature's name and kind"
    if kind == "model_type":
        return f"{key} is {value!r}; expected a section: write [{key}] and its keys below"
    if kind == "tuple_type":
        form = f"tables: write [[{key}]] before each" if key.startswith("features.") else 'names, as in ["popularity"]'
        return f"{key} is {value!r}; expected a list of {form}"
    for phrase in ("Value error, ", "Input should be ", "String should have "):
        message = message.removeprefix(phrase)
    return f"{key} is {value!r}; expected {message}"


def _make_paths_absolute(tree: dict[str, Any], folder: Path) -> None:
    for section, key in _PATHS:
        value = tree.get(section, {}).get(key) if isinstance(tree.get(section), dict) else None
        if value and isinstance(value, str):
            try:
                tree[section][key] = absolute_location(value, folder)
            except InputError as error:
                raise InputError(f"{section}.{key}: {error}") from error


def _apply(tree: dict[str, Any], override: str) -> None:
    """Set the key of one ``section.key=value`` override, in place."""
    name, equals, text = override.partition("=")
    section, _, key = name.strip().partition(".")
    if not equals or not key or "." in key:
        raise InputError(f"--set {override!r}: expected section.key=value, as in --set training.epochs=20")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    keys = tree.setdefault(section, {})
    if not isinstance(keys, dict):
        raise InputError(f"--set {override!r}: {section} is {keys!r} in the config; expected a section")
    keys[key] = value


def _refuse_unknown_keys(tree: object, model: type[BaseModel], source: str, parents: tuple[str, ...]) -> None:
    """Raise InputError for the first key that ``model`` lacks, before pydantic words it less helpfully."""
    if not isinstance(tree, Mapping):
        return
    for key, value in tree.items():
        if key not in model.model_fields:
            name = ".".join((*parents, key))
            if name in EARLIER_NAMES:
                raise InputError(f"{source}: the key {name!r} is now called {EARLIER_NAMES[name]!r}; rename it")
            raise InputError(f"{source}: unknown key {name!r}; {_suggestion(key, model)}")
        annotation = model.model_fields[key].annotation
        for inner in (annotation, *get_args(annotation)):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                for row in value if isinstance(value, list) else [value]:
                    _refuse_unknown_keys(row, inner, source, (*parents, key))


def _suggestion(key: str, model: type[BaseModel]) -> str:
    """Name the valid key that is spelt most alike, or the sections that have this key."""
    near = difflib.get_close_matches(key, model.model_fields, n=1, cutoff=0.75)
    elsewhere = [f"{name}.{key}" for name, field in Config.model_fields.items() if key in _keys(field.annotation)]
    likely = near or elsewhere or difflib.get_close_matches(key, model.model_fields, n=1, cutoff=0.5)
    if likely:
        return f"did you mean {' or '.join(map(repr, likely))}?"
    return f"valid keys: {', '.join(model.model_fields)}"


def _keys(annotation: object) -> Iterable[str]:
    return annotation.model_fields if isinstance(annotation, type) and issubclass(annotation, BaseModel) else ()
