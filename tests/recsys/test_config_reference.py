import json
import re
import tomllib
from pathlib import Path

import pytest

from recsys.config import Config, load_config
from recsys.config_reference import Key, as_toml, sections

DEFAULTS = json.loads(Config.model_validate({"data": {"events": "events.parquet"}}).model_dump_json())


def keys() -> dict[str, Key]:
    return {key.name: key for section in sections() for key in section.keys}


def uncommented(text: str) -> str:
    """Every key at its default: ``#`` without a space after it starts a commented key."""
    return re.sub(r"^#(?=\S)", "", text, flags=re.MULTILINE)


def without_unset(sections: dict[str, dict[str, object]]) -> dict[str, dict[str, object]]:
    return {name: {key: value for key, value in keys.items() if value is not None} for name, keys in sections.items()}


def test_every_key_of_the_models_is_listed() -> None:
    listed = {name for name in keys() if name.count(".") == 1}
    assert listed == {f"{section}.{key}" for section, values in DEFAULTS.items() for key in values}
    assert {"features.item.name", "features.item.kind", "features.user.name", "features.user.kind"} <= keys().keys()


def test_every_key_and_section_says_what_it_means() -> None:
    for section in sections():
        assert section.meaning.endswith("."), section.name
        for key in section.keys:
            assert len(key.meaning.split()) >= 4, key.name
            assert key.meaning.endswith("."), key.name
            assert key.values, key.name


def test_a_key_that_is_not_set_says_what_is_chosen_then() -> None:
    for name, key in keys().items():
        if key.default is None and not key.required:
            assert re.search(r"Not set: |Required for ", key.meaning), name


def test_types_bounds_and_defaults_are_read_off_the_models() -> None:
    found = keys()
    assert found["training.epochs"].values == "whole number, at least 1"
    assert found["training.epochs"].default is None
    assert found["split.validation_share"].values == "number, above 0, below 1"
    assert found["model.embedding_dim"].values == "whole number, at least 2, a multiple of 2"
    assert found["split.val_start"].values == "text or number"
    assert found["index.kind"].values == '"auto", "exact", "hnsw" or "ivf"'
    assert found["index.kind"].default == '"auto"'
    assert found["data.events"].required
    assert not found["data.time"].required


def test_the_text_is_a_configuration_at_its_defaults(tmp_path: Path) -> None:
    path = tmp_path / "my.toml"
    path.write_text(as_toml())
    config = load_config(path)
    expected = DEFAULTS | {"data": DEFAULTS["data"] | {"events": str(tmp_path / "events.parquet")}}
    assert json.loads(config.model_dump_json()) == expected


def test_the_text_with_every_key_uncommented_names_all_defaults() -> None:
    assert tomllib.loads(uncommented(as_toml())) == without_unset(DEFAULTS)


@pytest.mark.parametrize("name", sorted(name for name in keys() if name.count(".") == 1))
def test_the_text_names_every_key_as_set_takes_it(name: str) -> None:
    assert f"\n# {name}: " in as_toml()
