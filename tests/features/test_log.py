from functools import partial
from pathlib import Path

import polars as pl
import pytest

from features.inputs import read_inputs
from features.log import Log, clean_shard, open_part, unite_shards
from features.windows import TEST, TRAINING
from recsys.config import Config
from tests.random_logs import config_of, random_log

GIVEN = {"kind": "given"}


def read_log(config: Config, folder: Path) -> Log:
    folder.mkdir()
    inputs = read_inputs(config, folder)
    shards = range(inputs.plan.shards)
    clean = partial(clean_shard, config.split, inputs.num_rows, folder)
    return unite_shards(config.split, inputs, [*map(clean, shards, inputs.events, inputs.test or [None] * len(shards))])


@pytest.mark.parametrize("num_shards", [1, 3])
def test_a_test_file_follows_the_log_with_one_set_of_codes(tmp_path: Path, num_shards: int) -> None:
    events = pl.DataFrame({"user_id": ["b", "b"], "item_id": [5, 3], "timestamp": [1, 2]})
    test = pl.DataFrame({"user_id": ["a", "b", None], "item_id": [4, 4, 1], "timestamp": [8.5, 9.0, 9.5]})
    test.write_parquet(tmp_path / "test.parquet")
    split = GIVEN | {"test": str(tmp_path / "test.parquet")}
    log = read_log(config_of(tmp_path, events, {"split": split}, shards=num_shards), tmp_path / "interim")
    parts = [open_part(part) for part in log.parts]
    rows = [
        part.log.select(
            "row", "window", "time",
            user=pl.Series(part.user_ids).gather(part.log["user_id"]),
            item=pl.Series(part.item_ids).gather(part.log["item_id"]),
        ).rows()
        for part in parts
    ]  # fmt: skip
    assert sorted(row for part in rows for row in part) == [
        (0, TRAINING, 1.0, "b", 5), (1, TRAINING, 2.0, "b", 3), (2, TEST, 8.5, "a", 4), (3, TEST, 9.0, "b", 4),
    ]  # fmt: skip
    assert [user for part in rows for *_, user, _ in part].count("b") == 3
    assert all(part == sorted(part, key=lambda row: (row[3], row[2])) for part in rows)
    assert log.item_ids.to_list() == [3, 4, 5]
    assert log.test_counts is not None
    assert (log.counts.rows, log.test_counts.rows, log.test_counts.events, log.num_events) == (2, 3, 2, 4)
    assert log.test_counts.quarantined == {"no user_id": 1}
    assert pl.concat(log.quarantine).select("source", "row").rows() == [("test", 2)]


def test_times_of_a_test_file_are_widened_or_refused(tmp_path: Path) -> None:
    events = pl.DataFrame({"user_id": ["a", "a"], "item_id": [5, 3], "timestamp": [1, (1 << 53) + 1]})
    test = pl.DataFrame({"user_id": ["a"], "item_id": [5], "timestamp": [8.5]})
    test.write_parquet(tmp_path / "test.parquet")
    config = config_of(tmp_path, events, {"split": GIVEN | {"test": str(tmp_path / "test.parquet")}})
    with pytest.raises(ValueError, match="time is Int64 in events but Float64 in test, and no type holds"):
        read_log(config, tmp_path / "refused")
    test.with_columns(timestamp=pl.lit(9, pl.Int8)).write_parquet(tmp_path / "test.parquet")
    assert read_log(config, tmp_path / "interim").scan().collect_schema()["time"] == pl.Int64


def test_a_test_file_of_text_takes_the_ids_of_the_log(tmp_path: Path) -> None:
    events = pl.DataFrame({"user_id": [1, 1], "item_id": [5, 3], "timestamp": [1, 2]})
    (tmp_path / "test.csv").write_text("user_id;item_id;timestamp\n1;5;3\n")
    config = config_of(tmp_path, events, {"split": GIVEN | {"test": str(tmp_path / "test.csv")}})
    assert open_part(read_log(config, tmp_path / "interim").parts[0]).user_ids.to_list() == [1]


@pytest.mark.parametrize("id_type", ["text", "integer"])
def test_ids_of_text_are_what_the_configuration_says(tmp_path: Path, id_type: str) -> None:
    config = config_of(tmp_path, random_log(), events=str(tmp_path / "log.csv"), id_type=id_type)
    random_log().write_csv(tmp_path / "log.csv")
    log, dtype = read_log(config, tmp_path / "interim"), {"text": pl.String, "integer": pl.Int64}[id_type]
    assert (open_part(log.parts[0]).user_ids.dtype, log.item_ids.dtype) == (dtype, dtype)


@pytest.mark.parametrize("times", [[23092023, 24092023, 25092023], [1695887345, 1695887345123, 1695887346]])
def test_all_shards_together_must_have_a_clock(tmp_path: Path, times: list[int]) -> None:
    """Users 1, 2 and 4 are in three shards, none of which is in doubt alone."""
    events = pl.DataFrame({"user_id": [1, 2, 4], "item_id": [1, 1, 1], "timestamp": times})
    errors = []
    for num_shards in (1, 4):
        with pytest.raises(ValueError, match="time") as refused:
            read_log(config_of(tmp_path, events, shards=num_shards), tmp_path / f"{num_shards}")
        errors.append(str(refused.value))
    assert errors[0] == errors[1]


def test_shards_reject_the_same_rows(tmp_path: Path) -> None:
    events = pl.concat([random_log(), random_log().head(40)]).with_columns(
        item_id=pl.when(pl.int_range(pl.len()) % 7 > 0).then("item_id")
    )
    logs = [read_log(config_of(tmp_path, events, shards=count), tmp_path / f"{count}") for count in (1, 5)]
    assert logs[0].counts == logs[1].counts
    assert logs[0].counts.quarantined.keys() == {"no item_id", "duplicate"}
    assert logs[0].quarantine[0].equals(pl.concat(logs[1].quarantine).sort("row"))
    assert logs[0].item_ids.equals(logs[1].item_ids)
