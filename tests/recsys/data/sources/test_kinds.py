from pathlib import Path

import polars as pl
import pytest

from recsys.data.sources import require_unchanged, source_digest


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
