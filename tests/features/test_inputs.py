from pathlib import Path
from typing import Any

import polars as pl
import pytest

from features.inputs import dataset_digest, fingerprint_inputs, refuse_unused_settings, require_unchanged_inputs
from recsys.config import SplitConfig
from tests.random_logs import config_of, random_log, with_metadata


def test_the_fingerprint_of_the_log_ignores_metadata_and_that_of_the_dataset_does_not(tmp_path: Path) -> None:
    config = with_metadata(tmp_path, random_log())
    first = fingerprint_inputs(config)
    (tmp_path / "users.parquet").unlink()
    pl.DataFrame({"user_id": [1], "age": [30]}).write_parquet(tmp_path / "users.parquet")
    second = fingerprint_inputs(config)
    assert first.log == second.log
    assert dataset_digest(config, first) != dataset_digest(config, second)


@pytest.mark.parametrize(
    ("section", "change"),
    [("data", {"min_user_events": 4}), ("data", {"user_id": "item_id"}), ("split", {"seed": 1})],
)
def test_the_fingerprint_of_the_log_follows_its_split(tmp_path: Path, section: str, change: dict[str, Any]) -> None:
    config = config_of(tmp_path, random_log())
    other = config.model_copy(update={section: getattr(config, section).model_copy(update=change)})
    assert fingerprint_inputs(config).log != fingerprint_inputs(other).log


def test_training_settings_change_no_fingerprint(tmp_path: Path) -> None:
    config = config_of(tmp_path, random_log())
    other = config.model_copy(update={"training": config.training.model_copy(update={"epochs": 3})})
    fingerprint = fingerprint_inputs(config)
    assert fingerprint_inputs(other) == fingerprint
    assert dataset_digest(other, fingerprint) == dataset_digest(config, fingerprint)


@pytest.mark.parametrize(("name", "kind"), [("val_start", "temporal"), ("test_start", "temporal"), ("test", "given")])
def test_a_setting_of_another_split_is_refused(name: str, kind: Any) -> None:
    with pytest.raises(ValueError, match=f"split.{name} is set but split.kind is 'leave_one_out'; expected '{kind}'"):
        refuse_unused_settings(SplitConfig(**{name: "x"}))
    refuse_unused_settings(SplitConfig(kind=kind, **{name: "x"}))


def test_keys_that_came_later_count_only_where_they_are_set(tmp_path: Path) -> None:
    config = config_of(tmp_path, random_log())
    first = fingerprint_inputs(config)
    for change in ({"id_type": "integer"}, {"time_format": "%d/%m/%Y"}, {"decimal": ","}):
        data = config.data.model_copy(update=change)
        assert fingerprint_inputs(config.model_copy(update={"data": data})).log != first.log


def test_inputs_that_change_while_they_are_read_are_refused(tmp_path: Path) -> None:
    config = with_metadata(tmp_path, random_log())
    before = fingerprint_inputs(config)
    require_unchanged_inputs(config, before)
    (tmp_path / "items.parquet").write_bytes((tmp_path / "users.parquet").read_bytes())
    with pytest.raises(ValueError, match=r"items at .* changed while it was read"):
        require_unchanged_inputs(config, before)


def test_other_files_that_were_there_for_a_while_are_seen(tmp_path: Path) -> None:
    """Their rows may have been read although the digest is the same before and after."""
    config = with_metadata(tmp_path, random_log())
    before = fingerprint_inputs(config)
    require_unchanged_inputs(config, before)
    content = (tmp_path / "events.parquet").read_bytes()
    (tmp_path / "events.parquet").unlink()
    (tmp_path / "events.parquet").write_bytes(content)
    with pytest.raises(ValueError, match=r"events at .* was touched while it was read; expected files at rest: run"):
        require_unchanged_inputs(config, before)
    assert fingerprint_inputs(config).sources == before.sources
