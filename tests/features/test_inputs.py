from pathlib import Path
from typing import Any

import polars as pl
import pytest

from features.inputs import fingerprint_inputs, read_inputs, refuse_unused_settings, require_unchanged_inputs
from features.windows import TEST, TRAINING
from recsys.config import SplitConfig
from tests.random_logs import config_of, random_log, with_metadata

GIVEN = {"kind": "given"}


def test_the_fingerprint_of_the_log_ignores_metadata_and_that_of_the_dataset_does_not(tmp_path: Path) -> None:
    config = with_metadata(tmp_path, random_log())
    first = fingerprint_inputs(config)
    (tmp_path / "users.parquet").unlink()
    pl.DataFrame({"user_id": [1], "age": [30]}).write_parquet(tmp_path / "users.parquet")
    second = fingerprint_inputs(config)
    assert first.log == second.log
    assert first.digest != second.digest


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
    assert fingerprint_inputs(config) == fingerprint_inputs(other)


def test_a_test_file_follows_the_log_with_one_set_of_codes(tmp_path: Path) -> None:
    log = pl.DataFrame({"user_id": ["b", "b"], "item_id": [5, 3], "timestamp": [1, 2]})
    test = pl.DataFrame({"user_id": ["a", "b", None], "item_id": [4, 4, 1], "timestamp": [8.5, 9.0, 9.5]})
    test.write_parquet(tmp_path / "test.parquet")
    inputs = read_inputs(config_of(tmp_path, log, {"split": GIVEN | {"test": str(tmp_path / "test.parquet")}}))
    events = inputs.log.log.select(
        "row", "window", "time",
        user=pl.Series(inputs.log.user_ids).gather(inputs.log.log["user_id"]),
        item=pl.Series(inputs.log.item_ids).gather(inputs.log.log["item_id"]),
    )  # fmt: skip
    assert events.rows() == [
        (2, TEST, 8.5, "a", 4), (0, TRAINING, 1.0, "b", 5), (1, TRAINING, 2.0, "b", 3), (3, TEST, 9.0, "b", 4),
    ]  # fmt: skip
    assert inputs.test_counts is not None
    assert (inputs.log.counts.rows, inputs.test_counts.rows, inputs.test_counts.events) == (2, 3, 2)
    assert inputs.log.quarantine.select("source", "row").rows() == [("test", 2)]


@pytest.mark.parametrize(("name", "kind"), [("val_start", "temporal"), ("test_start", "temporal"), ("test", "given")])
def test_a_setting_of_another_split_is_refused(name: str, kind: Any) -> None:
    with pytest.raises(ValueError, match=f"split.{name} is set but split.kind is 'leave_one_out'; expected '{kind}'"):
        refuse_unused_settings(SplitConfig(**{name: "x"}))
    refuse_unused_settings(SplitConfig(kind=kind, **{name: "x"}))


def test_times_of_a_test_file_are_widened_or_refused(tmp_path: Path) -> None:
    log = pl.DataFrame({"user_id": ["a", "a"], "item_id": [5, 3], "timestamp": [1, (1 << 53) + 1]})
    test = pl.DataFrame({"user_id": ["a"], "item_id": [5], "timestamp": [8.5]})
    test.write_parquet(tmp_path / "test.parquet")
    config = config_of(tmp_path, log, {"split": GIVEN | {"test": str(tmp_path / "test.parquet")}})
    with pytest.raises(ValueError, match="time is Int64 in events but Float64 in test, and no type holds"):
        read_inputs(config)
    test.with_columns(timestamp=pl.lit(9, pl.Int8)).write_parquet(tmp_path / "test.parquet")
    assert read_inputs(config).log.log.schema["time"] == pl.Int64


def test_a_test_file_of_text_takes_the_ids_of_the_log(tmp_path: Path) -> None:
    log = pl.DataFrame({"user_id": [1, 1], "item_id": [5, 3], "timestamp": [1, 2]})
    (tmp_path / "test.csv").write_text("user_id;item_id;timestamp\n1;5;3\n")
    inputs = read_inputs(config_of(tmp_path, log, {"split": GIVEN | {"test": str(tmp_path / "test.csv")}}))
    assert inputs.log.user_ids.to_list() == [1]


@pytest.mark.parametrize("id_type", ["text", "integer"])
def test_ids_of_text_are_what_the_configuration_says(tmp_path: Path, id_type: str) -> None:
    config = config_of(tmp_path, random_log(), events=str(tmp_path / "log.csv"), id_type=id_type)
    random_log().write_csv(tmp_path / "log.csv")
    inputs, dtype = read_inputs(config), {"text": pl.String, "integer": pl.Int64}[id_type]
    assert (inputs.log.user_ids.dtype, inputs.log.item_ids.dtype) == (dtype, dtype)


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
    assert fingerprint_inputs(config).digest == before.digest
