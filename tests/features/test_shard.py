from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from features.shard import ShardJob, encode_shard, group_shard, open_table
from recsys.config import SplitConfig
from recsys.data.dataset import read_arrow, write_arrow
from recsys.data.events import CleanLog, LogCounts
from recsys.data.jagged import Jagged
from recsys.data.manifest import SplitCounts

USER_IDS, ITEM_IDS = pl.Series("user_id", [5, 7, 8]), pl.Series("item_id", list("abcdz"))
LOG = pl.DataFrame({
    "row": pl.Series([1, 2, 4, 7, 0, 5, 3, 8, 6], dtype=pl.UInt32),
    "user_id": pl.Series([0, 0, 0, 0, 1, 1, 1, 1, 2], dtype=pl.Int32),
    "item_id": pl.Series(map("abcdz".index, "bcbdacaaz"), dtype=pl.Int32),
    "time": [1, 1, 2, 9, 1, 2, 3, 4, 9],
    "window": pl.Series([0] * 9, dtype=pl.UInt8),
})  # fmt: skip


def job_of(folder: Path) -> ShardJob:
    return ShardJob(folder, SplitConfig(), 3, asks_without_history=False, num_items=len(ITEM_IDS), needs_users=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("interim", "train", "validation", "test"):
        (tmp_path / name).mkdir()
    return tmp_path


def part_of(log: pl.DataFrame) -> CleanLog:
    return CleanLog(log, USER_IDS, ITEM_IDS, pl.DataFrame(), LogCounts(rows=log.height, events=log.height))


def test_a_shard_is_grouped_split_and_encoded(folder: Path) -> None:
    (folder / "catalogue").mkdir()
    write_arrow(ITEM_IDS.to_frame(), folder / "catalogue" / "logged.arrow")
    part, item_ids = folder / "interim" / "clean-00000", ITEM_IDS.gather([0, 1, 2, 3, 4])
    part.mkdir()
    for name, table in (("log", LOG), ("users", USER_IDS.to_frame()), ("items", item_ids.to_frame())):
        write_arrow(table, part / f"{name}.arrow")
    for _ in range(2):  # a process may be lost before its result is taken
        first = group_shard(job_of(folder), 0, part)
    # user 5: b c b d; user 7: a c a a; user 8: z
    assert first.counts == SplitCounts(
        users=3, users_with_few_events=1, training_events=5, validation_queries=2, test_queries=2, equal_times=1
    )
    assert first.item_counts.tolist() == [1, 1, 2, 0, 1]
    test = read_arrow(folder / "test" / "shard-00000.arrow")
    assert test.rows() == [(5, [1, 2, 1], [3], 9, 9), (7, [0, 2, 0], [0], 4, 4)]
    validation = read_arrow(folder / "validation" / "shard-00000.arrow")
    assert validation.rows() == [(5, [1, 2], [1], 2, 2), (7, [0, 2], [0], 3, 3)]
    encode_shard(folder, np.array([3, 2, 1, 0, 0], np.int32), 0, first.training)  # "z" gets no row of its own
    table = read_arrow(folder / "train" / "shard-00000.arrow")
    assert table.rows() == [(5, [2, 1], 1), (7, [3, 1], 2)]
    assert Jagged.from_series(table["positions"]).values.dtype == np.int32
    assert open_table(first.users).rows() == [(5, True), (7, True), (8, True)]


def test_users_are_told_only_where_they_are_needed(folder: Path) -> None:
    without = group_shard(replace(job_of(folder), needs_users=False), 0, part_of(LOG))
    assert open_table(without.users).schema == {"user_id": pl.Int64, "in_training": pl.Boolean}
    assert open_table(without.users).is_empty()
    assert without.counts == group_shard(job_of(folder), 0, part_of(LOG)).counts


def test_an_empty_shard_is_a_shard(folder: Path) -> None:
    first = group_shard(job_of(folder), 0, part_of(LOG.head(0)))
    assert first.item_counts.tolist() == [0] * 5
    assert not any(first.counts.model_dump().values())
    encode_shard(folder, np.zeros(5, np.int32), 0, first.training)
    table = read_arrow(folder / "train" / "shard-00000.arrow")
    assert table.schema == {"user_id": pl.Int64, "positions": pl.List(pl.Int32), "until": pl.Int64}
    queries = read_arrow(folder / "test" / "shard-00000.arrow")
    lists = {"history": pl.List(pl.Int32), "targets": pl.List(pl.Int32)}
    assert queries.schema == {"user_id": pl.Int64, **lists, "since": pl.Int64, "until": pl.Int64}
