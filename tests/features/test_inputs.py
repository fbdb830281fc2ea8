from pathlib import Path
from typing import Any

import polars as pl
import pytest

from features.inputs import fingerprint_inputs, read_inputs, refuse_unused_settings
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
