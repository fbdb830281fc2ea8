from pathlib import Path

import polars as pl
import pytest

from recsys.data.sources.forms import Form, form_of
from recsys.data.sources.local_files import source_files


@pytest.fixture
def table(tmp_path: Path) -> Path:
    pl.DataFrame({"x": [1]}).write_parquet(tmp_path / "a.parquet")
    return tmp_path / "a.parquet"


def test_the_form_follows_from_the_ending_and_the_content_agrees(table: Path, tmp_path: Path) -> None:
    assert form_of(table, "events") == Form("parquet")
    plain = tmp_path / "without-ending"
    plain.write_bytes(table.read_bytes())
    assert form_of(plain, "events") == Form("parquet")
    for name, content, problem in (
        ("b.csv", table.read_bytes(), "holds Parquet, not text; expected what its ending says: rename it"),
        ("b.jsonl", b"\x1f\x8b\x08\x00rest", "holds gzip, not text"),
        ("b.csv.gz", b"u,i\n1,2\n", "is not gzip"),
        ("b.parquet", b"u,i\n1,2\n", "holds something else, not Parquet; expected Parquet, or an ending"),
        ("c.feather", b"FEA1 and more", "holds Feather of version 1, not Feather"),
        ("c.arrow", b"ARROW1 and more", "is truncated"),
        ("d.parquet", table.read_bytes()[: 100], "is truncated: its end is missing"),
        ("e.csv.zip", b"PK", "has an ending that says no form; .*: unpack it"),
        ("e.parquet.gz", b"\x1f\x8b", "has an ending that says no form"),
        ("e.txt", b"u,i", "has an ending that says no form; expected Parquet"),
    ):  # fmt: skip
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=problem) as caught:
            form_of(tmp_path / name, "events")
        assert "\n" not in str(caught.value)


def test_a_file_packed_in_another_way_is_not_passed_over(table: Path, tmp_path: Path) -> None:
    (tmp_path / "b.csv.bz2").write_bytes(b"BZh")
    with pytest.raises(ValueError, match=r"b.csv.bz2 has an ending that says no form"):
        [form_of(file, "events") for file in source_files(str(tmp_path))]
