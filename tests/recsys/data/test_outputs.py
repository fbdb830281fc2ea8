"""Results are never written among the files that the next run would read."""

from pathlib import Path

import pytest

from recsys.data import require_outside
from recsys.errors import InputError

INSIDE = [
    ("log", "log/recs"), ("log", "log"), ("log", "log/deep/er"), ("log/", "./log/recs/"), ("log", "link/recs"),
    ("link", "log/recs"), ("log/*.parquet", "log"), ("log/**/*.parquet", "log/recs"), ("log/*/*.parquet", "log/recs"),
    ("**/*.parquet", "anywhere"), ("lo*", "log/recs"), ("log/p*", "log"), ("log", "x/../log/recs"), (".", "recs"),
]  # fmt: skip
OUTSIDE = [
    ("log", "recs"), ("log", "."), ("log", "log-recs"), ("log/a.parquet", "log/recs"), ("log/a.parquet", "log"),
    ("log/*.parquet", "log/recs"), ("log/day*.parquet", "log"), ("log", "log/_recs"), ("log", "log/.recs/deep"),
    ("log/*/a.parquet", "log/recs"), ("missing", "recs"), (None, "recs"),
]  # fmt: skip


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "a.parquet").touch()
    (tmp_path / "link").symlink_to("log")


@pytest.mark.parametrize(("location", "out"), INSIDE)
def test_inside_an_input_is_refused(location, out):
    with pytest.raises(InputError, match=r"is inside the items at .*; choose an --out elsewhere"):
        require_outside(Path(out), events=None, items=location)


@pytest.mark.parametrize(("location", "out"), OUTSIDE)
def test_beside_an_input_is_fine(location, out, tmp_path):
    require_outside(Path(out), events=location)
    require_outside(tmp_path / out, events=location)


def test_a_link_to_itself_is_left_to_the_writer_to_refuse(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    require_outside(tmp_path / "loop", events="log")
