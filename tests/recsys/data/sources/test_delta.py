import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from recsys.data import require_unchanged, scan_table, source_digest, source_identities


def rows(location: str) -> list[int]:
    return scan_table(location, "events", ["x"]).frame.select("x").collect().to_series().sort().to_list()


def test_the_newest_version_is_read_and_deleted_rows_are_not(tmp_path: Path) -> None:
    from deltalake import DeltaTable

    location = str(tmp_path / "log")
    pl.DataFrame({"x": [1, 2]}).write_delta(location)
    first, identities = source_digest(location), source_identities(location)
    pl.DataFrame({"x": [3]}).write_delta(location, mode="append")
    DeltaTable(location).delete("x = 2")
    assert rows(location) == [1, 3]
    assert rows(f"file://{location}") == [1, 3]
    assert source_digest(location) != first
    assert source_identities(location) != identities
    with pytest.raises(ValueError, match=r"events at .* changed while it was read; expected one version"):
        require_unchanged(location, "events", first)
    pl.DataFrame({"x": [1, 2]}).write_delta(str(tmp_path / "other"))
    assert source_digest(str(tmp_path / "other")) != first  # the same version of another table


def test_a_table_in_a_bucket(s3: str, put: Callable[[str, bytes], None], tmp_path: Path) -> None:
    pl.DataFrame({"x": [1, 2]}).write_delta(str(tmp_path / "log"))
    for file in (tmp_path / "log").rglob("*"):
        if file.is_file():
            put(str(file.relative_to(tmp_path)), file.read_bytes())
    assert rows(f"{s3}/log") == [1, 2]
    assert source_digest(f"{s3}/log") == source_digest(str(tmp_path / "log"))


def test_a_damaged_table_and_a_missing_library_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pl.DataFrame({"x": [1, 2]}).write_delta(str(tmp_path / "log"))
    (log,) = (tmp_path / "log" / "_delta_log").glob("*.json")
    log.write_text("{}x")
    with pytest.raises(
        ValueError, match=r"cannot read events at .*; expected a Delta table: restore its _delta_log"
    ) as no:
        rows(str(tmp_path / "log"))
    assert "\n" not in str(no.value)
    monkeypatch.setitem(sys.modules, "deltalake", None)
    with pytest.raises(ValueError, match=r"cannot be used without deltalake .* pip install 'recsys\[delta\]'"):
        rows(str(tmp_path / "log"))
