from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from recsys.data.sources import require_unchanged, source_digest
from serving.batch_scoring import score


@pytest.fixture
def table(tmp_path: Path) -> Path:
    pl.DataFrame({"x": [1]}).write_parquet(tmp_path / "a.parquet")
    return tmp_path / "a.parquet"


def test_other_addresses_are_no_local_paths() -> None:
    with pytest.raises(ValueError, match="hdfs://host/log is no local path"):
        source_digest("hdfs://host/log", "events")


def test_a_change_while_reading_is_refused(table: Path, tmp_path: Path) -> None:
    before = source_digest(str(tmp_path))
    require_unchanged(str(tmp_path), "events", before)
    pl.DataFrame({"x": [2]}).write_parquet(tmp_path / "b.parquet")
    with pytest.raises(ValueError, match=r"events at .* changed while it was read; expected files at rest"):
        require_unchanged(str(tmp_path), "events", before)


def test_scores_are_the_same_wherever_the_log_is(
    small_run: Any, retriever: Any, s3: str, put: Callable[[str, pl.DataFrame], None], tmp_path: Path
) -> None:
    log = small_run.events.head(100)
    log.write_parquet(tmp_path / "events.parquet")
    put("log/day=1/a.parquet", log.head(70))
    put("log/day=2/a.parquet", log.slice(70))
    log.write_delta(str(tmp_path / "lake"))
    with duckdb.connect(str(tmp_path / "shop.db")) as connection:
        connection.register("frame", log.to_arrow())
        connection.execute("CREATE TABLE log AS SELECT * FROM frame")

    def scored(events: str, name: str) -> pl.DataFrame:
        score(retriever, tmp_path / name, events=events, k=10)
        return pl.read_parquet(tmp_path / name / "part-*.parquet").sort("user_id", "rank")

    here = scored(str(tmp_path / "events.parquet"), "here")
    assert here.equals(scored(f"{s3}/log", "objects"))
    assert here.equals(scored(str(tmp_path / "lake"), "delta"))
    assert here.equals(scored(f"duckdb:///{tmp_path}/shop.db?query=FROM log", "query"))
