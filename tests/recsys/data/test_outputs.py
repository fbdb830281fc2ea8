"""Results are never written among the files that the next run would read."""

import errno
from pathlib import Path

import polars as pl
import pytest

from recsys.data import input_error_if_full, require_outside
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


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"), OSError("No space left on device (os error 28)"),
        pl.exceptions.ComputeError("parquet: underlying IO error: No space left on device (os error 28)"),
        InputError("cannot read the events: No space left on device (os error 28)"),
    ],
)  # fmt: skip
def test_where_there_is_no_room_one_line_says_so(error):
    message = r"^cannot write out: No space left on device; make room there, or choose another place$"
    with pytest.raises(InputError, match=message), input_error_if_full(Path("out")):
        raise error


def test_other_errors_stay_what_they_are():
    for error in (OSError(errno.EACCES, "Permission denied"), OSError("(os error 2)"), ValueError()):
        with pytest.raises(type(error)) as raised, input_error_if_full(Path("out")):
            raise error
        assert raised.value is error
