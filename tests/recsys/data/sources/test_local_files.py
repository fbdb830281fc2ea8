import os
import socket
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from recsys.data.sources.local_files import source_files


@pytest.fixture
def table(tmp_path: Path) -> Path:
    pl.DataFrame({"x": [1]}).write_parquet(tmp_path / "a.parquet")
    return tmp_path / "a.parquet"


def test_pipes_sockets_devices_and_dead_links_are_refused_and_never_read(table: Path, tmp_path: Path) -> None:
    def members() -> Iterator[tuple[Path, str]]:
        os.mkfifo(tmp_path / "pipe.parquet")
        yield tmp_path / "pipe.parquet", "a named pipe"
        with socket.socket(socket.AF_UNIX) as opened:
            opened.bind(str(tmp_path / "s.parquet"))
            yield tmp_path / "s.parquet", "a socket"
        (tmp_path / "gone.parquet").symlink_to(tmp_path / "nothing")
        yield tmp_path / "gone.parquet", "a link to nothing"
        (tmp_path / "zero.csv").symlink_to("/dev/zero")
        yield tmp_path / "zero.csv", "a device"

    for member, nature in members():
        for location in (member, tmp_path, tmp_path / f"{member.stem}*"):
            with pytest.raises(ValueError, match=f"events: .*{member.name} is {nature}; expected regular files only"):
                source_files(str(location), "events")
        member.unlink()
    assert source_files(str(tmp_path)) == [table]


def test_linked_folders_are_read_and_circles_end(table: Path, tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "2024").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "log" / "again").symlink_to(tmp_path / "log")
    (tmp_path / "elsewhere").mkdir()
    table.rename(tmp_path / "elsewhere" / "a.parquet")
    assert source_files(str(tmp_path / "log")) == [tmp_path / "log" / "2024" / "a.parquet"]


@pytest.mark.parametrize(
    "name", ["a [1].parquet", "what?.parquet", "50%20*.parquet", "日本 é.parquet", "~.parquet", "[ab].parquet"]
)
def test_a_path_that_exists_is_no_pattern(table: Path, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "run [x]*?"
    folder.mkdir()
    table.rename(folder / name)
    (folder / "b.parquet").write_bytes((folder / name).read_bytes())
    assert source_files(str(folder / name)) == [folder / name]
    assert source_files(f"file://{folder / 'b.parquet'}") == [folder / "b.parquet"]
    assert source_files(str(folder / "b.par*")) == [folder / "b.parquet"]


def test_a_name_that_is_no_utf_8_is_refused(table: Path, tmp_path: Path) -> None:
    table.rename(os.fsdecode(os.fsencode(tmp_path) + b"/\xe9.parquet"))
    with pytest.raises(ValueError, match=r"events: b'.*/\\xe9.parquet' is no name in UTF-8; expected one: rename"):
        source_files(str(tmp_path), "events")


def test_hidden_files_do_not_match_a_pattern_unless_it_says_so(table: Path, tmp_path: Path) -> None:
    (tmp_path / "._a.parquet").write_text("what macOS leaves")
    (tmp_path / "_SUCCESS").touch()
    assert source_files(str(tmp_path / "*")) == [table]
    assert source_files(str(tmp_path / "_S*")) == [tmp_path / "_SUCCESS"]
