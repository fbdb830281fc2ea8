import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from recsys.data import require_unchanged, scan_table, source_digest, source_identities

LOCATION = "iceberg://shop/logs.events"


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A table of a catalogue in SQLite, which the environment names."""
    import pyiceberg.catalog
    from pyiceberg.utils.config import Config

    monkeypatch.setenv("PYICEBERG_CATALOG__SHOP__URI", f"sqlite:///{tmp_path}/catalogue.db")
    monkeypatch.setenv("PYICEBERG_CATALOG__SHOP__WAREHOUSE", f"file://{tmp_path}/tables")
    monkeypatch.setattr(pyiceberg.catalog, "_ENV_CONFIG", Config())  # which is read when PyIceberg is imported
    (tmp_path / "tables").mkdir()
    catalogue = pyiceberg.catalog.load_catalog("shop")
    catalogue.create_namespace("logs")
    first = pl.DataFrame({"x": [1, 2]}).to_arrow()
    made = catalogue.create_table("logs.events", schema=first.schema)
    made.append(first)
    return made


def test_the_newest_snapshot_is_read(table: Any) -> None:
    digest, identities = source_digest(LOCATION), source_identities(LOCATION)
    opened = scan_table(LOCATION, "events", ["x"]).frame
    table.append(pl.DataFrame({"x": [3]}).to_arrow())
    assert opened.collect()["x"].to_list() == [1, 2]  # of the snapshot of its opening
    assert scan_table(LOCATION, "events", ["x"]).frame.collect()["x"].sort().to_list() == [1, 2, 3]
    assert source_identities(LOCATION) != identities
    with pytest.raises(ValueError, match=r"events at iceberg://.* changed while it was read; expected one version"):
        require_unchanged(LOCATION, "events", digest)
    for location, problem in (
        ("iceberg://shop/logs.nothing", "Table does not exist: logs.nothing; expected a table that PyIceberg opens"),
        ("iceberg://other/logs.events", "PYICEBERG_CATALOG__OTHER__URI"),
        ("iceberg://shop", "names no table; expected iceberg://CATALOGUE/NAMESPACE.TABLE"),
    ):
        with pytest.raises(ValueError, match=problem) as caught:
            source_digest(location, "events")
        assert "\n" not in str(caught.value)


def test_a_missing_library_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyiceberg.catalog", None)
    with pytest.raises(ValueError, match=r"cannot be used without pyiceberg .* pip install 'recsys\[iceberg\]'"):
        source_digest(LOCATION, "events")
