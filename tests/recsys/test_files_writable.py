"""Whether a place can be written is known before the work."""

import errno
import os
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from recsys import files
from recsys.errors import InputError

UNWRITABLE = {
    "file/x": "is no folder; choose another place",
    "file/deep/x": "is no folder; choose another place",
    "long" * 64: "File name too long.*; choose a shorter name",
    "long" * 62: "File name too long.*; choose a shorter name",
    "loop": "is a link to itself",
    "/": "is the root of the file system",
    "/proc/self/x": "cannot write /proc/self/x: No such file or directory",
    "/sys/x": "cannot write /sys/x: .*; choose another place",
}


def tried(attempt: Callable[[], object]) -> str:
    with pytest.raises(InputError) as refused:
        attempt()
    return str(refused.value)


@pytest.mark.parametrize("directory", [False, True])
@pytest.mark.parametrize("path", UNWRITABLE, ids=lambda path: path[:12])
def test_a_place_that_cannot_be_written_is_refused_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, directory: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    for message in (
        tried(partial(files.require_writable, Path(path), directory=directory)),
        tried(files.replacing(Path(path), directory=directory).__enter__),
    ):
        assert re.search(UNWRITABLE[path], message)
        assert "\n" not in message
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file", "loop"]


def test_a_path_that_is_no_utf_8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"\xe9")
    with pytest.raises(InputError, match=r"cannot write b'.*/\\xe9': it is no path in UTF-8; choose another place"):
        files.require_writable(path)


def test_a_folder_is_no_file_and_a_file_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path, directory in ((tmp_path / "file", True), (tmp_path, False), (Path("/dev/null"), False)):
        with pytest.raises(InputError, match=r"expected a (file|folder): choose another place"):
            files.require_writable(path, directory=directory)
        with pytest.raises(InputError, match="expected a"), files.replacing(path, directory=directory):
            pass


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_full_or_forbidden_disk_is_said_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """The tests may run as root, who may write anywhere, so the refusal is raised where the disk would raise it."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(files.tempfile, "TemporaryFile", refuse)
    with pytest.raises(InputError, match=f"cannot write .*x: {os.strerror(code)}; (choose|make room)"):
        files.require_writable(tmp_path / "deep" / "x")
    assert list(tmp_path.iterdir()) == []


def test_trying_leaves_nothing(tmp_path: Path) -> None:
    files.require_writable(tmp_path / "a" / "b")
    files.require_writable(tmp_path / "a" / "page.html", directory=False)
    files.require_writable(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_mount_point_that_holds_files_is_refused_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing can be renamed over it. Without files it is filled, as every empty folder."""
    monkeypatch.setattr(files, "_is_mount", lambda path: path == tmp_path / "x")
    (tmp_path / "x").mkdir()
    with files.replacing(tmp_path / "x", directory=True) as temporary:
        (temporary / "new").touch()
    message = "x is a mount point that holds files; empty it"
    with pytest.raises(InputError, match=message), files.replacing(tmp_path / "x", directory=True):
        raise AssertionError
    assert [path.name for path in (tmp_path / "x").iterdir()] == ["new"]


def test_what_is_mounted_is_known() -> None:
    assert files._is_mount(Path("/proc"))
    assert not files._is_mount(Path("/proc/self"))
