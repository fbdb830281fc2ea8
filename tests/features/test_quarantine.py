from pathlib import Path

import polars as pl
import pytest

from features.quarantine import write_quarantine

TABLE = pl.DataFrame({"row": range(1_000)}, {"row": pl.UInt32}).with_columns(
    item_id=pl.col("row") * 7 % 11, reason=pl.lit("duplicate")
)


@pytest.mark.parametrize("num_shards", [1, 2, 9])
@pytest.mark.parametrize("num_test_rows", [0, 1, 300])
def test_rows_of_all_shards_are_in_the_order_of_the_log(num_test_rows: int, num_shards: int, tmp_path: Path) -> None:
    rows = pl.concat([
        TABLE.with_columns(source=pl.lit("events")), TABLE.head(num_test_rows).with_columns(source=pl.lit("test"))
    ])  # fmt: skip
    rows = rows.with_columns(shard=(pl.col("row") // 50 * 5 + pl.col("row") % 7) % num_shards)
    shards = [rows.filter(pl.col("shard") == shard) for shard in range(num_shards)]
    write_quarantine(shards, tmp_path / "blocks.parquet", step=4)
    assert pl.read_parquet(tmp_path / "blocks.parquet").equals(rows)
    write_quarantine(shards, tmp_path / "one.parquet")
    rows.write_parquet(tmp_path / "known.parquet")
    contents = {(tmp_path / f"{name}.parquet").read_bytes() for name in ("blocks", "one", "known")}
    assert len(contents) == 1


def test_nothing_is_rejected(tmp_path: Path) -> None:
    write_quarantine([TABLE.head(0)] * 3, tmp_path / "none.parquet")
    assert pl.read_parquet(tmp_path / "none.parquet").equals(TABLE.head(0))
