from pathlib import Path

import polars as pl
import pytest

from features.partition import OpenLog, partition_rows, read_rows
from recsys.data.factorize import shard_of

LOG = pl.DataFrame({
    "row": pl.Series(range(9), dtype=pl.UInt32),
    "user_id": [7, 5, 5, 7, 5, None, 8, 5, 7],
    "time": [1.5, None, 2, 3, 4, 5, 6, 7, 8],
})  # fmt: skip


@pytest.mark.parametrize("num_shards", [1, 2, 7])
def test_every_user_is_in_one_shard_in_the_order_of_the_log(tmp_path: Path, num_shards: int) -> None:
    files = partition_rows(OpenLog(LOG.lazy(), LOG.height, True), tmp_path, num_shards)
    parts = [read_rows(rows).collect() for rows in files]
    assert len(parts) == num_shards
    for shard, part in enumerate(parts):
        assert part.schema == LOG.schema
        assert part["row"].is_sorted()
        assert (shard_of(part["user_id"].drop_nulls(), num_shards) == shard).all()
    assert pl.concat(parts).sort("row").equals(LOG)
    assert sum(isinstance(rows, tuple) for rows in files) == (0 if num_shards == 1 else num_shards)


@pytest.mark.parametrize("dtype", [pl.String, pl.UInt64, pl.Int128])
def test_ids_of_every_type_come_back(tmp_path: Path, dtype: pl.DataType) -> None:
    log = LOG.with_columns(pl.col("user_id").cast(dtype), time=pl.duration(seconds="time"))
    opened = OpenLog(log.lazy(), log.height, True)
    parts = [read_rows(rows).collect() for rows in partition_rows(opened, tmp_path, 3)]
    assert pl.concat(parts).sort("row").equals(log)
