import errno
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from recsys import files
from recsys.errors import InputError


def test_digests() -> None:
    assert files.digest({"a": 1, "b": 2}, [3]) == files.digest({"b": 2, "a": 1}, [3])
    assert len({files.digest(*parts) for parts in ([1], ["1"], [1, None], [[1]], [])}) == 5


def test_sha256(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    assert files.sha256(tmp_path / "x") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_json_goes_in_and_out(tmp_path: Path) -> None:
    files.write_json(tmp_path / "deep" / "x.json", {"b": [1, None], "a": "é", "path": tmp_path})
    assert files.read_json(tmp_path / "deep" / "x.json") == {"b": [1, None], "a": "é", "path": str(tmp_path)}
    first = (tmp_path / "deep" / "x.json").read_bytes()
    files.write_json(tmp_path / "deep" / "x.json", {"path": tmp_path, "a": "é", "b": (1, None)})
    assert (tmp_path / "deep" / "x.json").read_bytes() == first
    assert first.endswith(b"}\n")


def test_a_file_is_replaced_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("old")
    with files.replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert [entry.name for entry in tmp_path.iterdir()] == ["x"]


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "old").touch()
    with pytest.raises(FileNotFoundError), files.replacing(tmp_path / "x", directory=True) as temporary:
        (temporary / "new").rename(temporary / "newer")
    assert [path.relative_to(tmp_path).as_posix() for path in sorted(tmp_path.rglob("*"))] == ["x", "x/old"]


@pytest.mark.parametrize("directory", [False, True])
def test_a_failure_leaves_no_parent_that_it_made(tmp_path: Path, directory: bool) -> None:
    with pytest.raises(RuntimeError), files.replacing(tmp_path / "a" / "b" / "c", directory=directory):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "a").mkdir()
    with pytest.raises(RuntimeError), files.replacing(tmp_path / "a" / "b" / "c", directory=directory):
        raise RuntimeError
    assert [path.name for path in tmp_path.rglob("*")] == ["a"]


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    for number in (1, 2):
        with files.replacing(tmp_path / "x", directory=True) as temporary:
            (temporary / "deep").mkdir()
            (temporary / "deep" / str(number)).touch()
    assert [path.relative_to(tmp_path).as_posix() for path in sorted(tmp_path.rglob("*"))] == [
        "x",
        "x/deep",
        "x/deep/2",
    ]


def test_what_is_read_is_never_taken_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "old").touch()
    removed: list[Path] = []
    monkeypatch.setattr(files.shutil, "rmtree", removed.append)
    with files.replacing(tmp_path / "x", directory=True):
        pass
    assert removed == [tmp_path / ".x.replaced"]


@pytest.mark.parametrize("directory", [False, True])
def test_two_writers_of_one_path_never_meet(tmp_path: Path, directory: bool) -> None:
    path = tmp_path / "x"
    with files.replacing(path, directory=directory) as temporary:
        mine = temporary / "file" if directory else temporary
        mine.write_text("the first")
        second = files.replacing(path, directory=directory)
        with pytest.raises(ValueError, match=r"x is being written by another process"), second:
            pass
        assert mine.read_text() == "the first"
    assert (path / "file" if directory else path).read_text() == "the first"
    with files.replacing(path, directory=directory) as temporary:
        (temporary / "file" if directory else temporary).write_text("the second")
    assert (path / "file" if directory else path).read_text() == "the second"
    assert [entry.name for entry in tmp_path.iterdir()] == ["x"]


def test_what_a_killed_writer_left_is_discarded(tmp_path: Path) -> None:
    for name in (".x.partial", ".x.replaced"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "torn").touch()
    with files.replacing(tmp_path / "x", directory=True) as temporary:
        assert list(temporary.iterdir()) == []
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize("directory", [False, True])
@pytest.mark.parametrize("target", ["there", "missing/deep"])
def test_a_link_is_followed(tmp_path: Path, directory: bool, target: str) -> None:
    """Written is what the link points to, with its temporary sibling on the same disk; the link stays."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if target == "there":
        (disk / target).mkdir() if directory else (disk / target).touch()
        (disk / target / "old").touch() if directory else None
    (tmp_path / "x").symlink_to(disk / target)
    for number in (1, 2):
        with files.replacing(tmp_path / "x", directory=directory) as temporary:
            assert temporary.parent == (disk / target).parent
            (temporary / "new" if directory else temporary).write_text(str(number))
        assert (tmp_path / "x").is_symlink()
        assert (disk / target / "new" if directory else disk / target).read_text() == str(number)
        assert [path.name for path in (disk / target).parent.iterdir()] == [Path(target).name]
    assert not directory or [path.name for path in (disk / target).iterdir()] == ["new"]


def test_a_failure_behind_a_dangling_link_leaves_only_the_link(tmp_path: Path) -> None:
    (tmp_path / "x").symlink_to("away/deep")
    with pytest.raises(RuntimeError), files.replacing(tmp_path / "x", directory=True):
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_an_empty_folder_is_filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It keeps its identity and mode: it may be a mount point, and its parent may not be writable."""
    (tmp_path / "x" / "lost+found").mkdir(parents=True)
    (tmp_path / "x").chmod(0o2775)
    before = (tmp_path / "x").stat()
    with pytest.raises(RuntimeError), files.replacing(tmp_path / "x", directory=True):
        raise RuntimeError
    assert [path.name for path in (tmp_path / "x").iterdir()] == ["lost+found"]
    moved = []
    rename = Path.rename
    monkeypatch.setattr(Path, "rename", lambda self, to: (moved.append(Path(to).name), rename(self, to))[1])
    with files.replacing(tmp_path / "x", directory=True) as temporary:
        (temporary / "zebra").mkdir()
        (temporary / "zebra" / "deep").touch()
        (temporary / "manifest.json").touch()
        assert list((tmp_path / "x").glob("[mz]*")) == []
    assert moved[-2:] == ["zebra", "manifest.json"]
    after = (tmp_path / "x").stat()
    assert (before.st_ino, before.st_mode) == (after.st_ino, after.st_mode)
    assert sorted(path.name for path in (tmp_path / "x").rglob("*")) == ["deep", "lost+found", "manifest.json", "zebra"]
    assert not files.is_vacant(tmp_path / "x")


def test_the_working_directory_and_a_path_before_a_change_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with files.replacing(Path(), directory=True) as temporary:
        (temporary / "new").touch()
    assert (tmp_path / "here" / "new").exists()
    assert [path.name for path in Path().iterdir()] == ["new"]
    for directory in (False, True):
        with files.replacing(Path(f"x{directory:d}"), directory=directory) as temporary:
            (temporary / "new" if directory else temporary).touch()
            os.chdir(tmp_path / "there")
        os.chdir(tmp_path / "here")
    assert sorted(path.name for path in Path().iterdir()) == ["new", "x0", "x1"]


@pytest.mark.parametrize("killed_at", range(3))
def test_a_folder_that_a_killed_writer_began_to_fill_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_at: int
) -> None:
    (tmp_path / "x").mkdir()
    real, renamed = Path.rename, []

    def rename(self: Path, to: Path) -> Path:
        renamed.append(to)
        if len(renamed) == killed_at + 2:  # the first says that the members are whole
            os._exit(9)
        return real(self, to)

    child = os.fork()
    if not child:
        monkeypatch.setattr(Path, "rename", rename)
        with files.replacing(tmp_path / "x", directory=True) as temporary:
            for name in ("a", "b", "manifest.json"):
                (temporary / name).write_text(name)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert not (tmp_path / "x" / "manifest.json").exists()
    assert not files.is_vacant(tmp_path / "x")
    assert sorted(path.name for path in (tmp_path / "x").iterdir()) == ["a", "b", "manifest.json"]


def test_vacant_is_what_holds_nothing_of_anybody(tmp_path: Path) -> None:
    assert files.is_vacant(tmp_path / "missing")
    assert files.is_vacant(tmp_path)
    (tmp_path / ".partial").mkdir()
    assert files.is_vacant(tmp_path)
    (tmp_path / "file").touch()
    assert not files.is_vacant(tmp_path)
    assert not files.is_vacant(tmp_path / "file")


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


KILLED = """
import os, signal, sys
from pathlib import Path
from recsys import files
with files.replacing(Path(sys.argv[1]), directory=True) as temporary:
    (temporary / "half").touch()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_writer_leaves_the_old(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "old").touch()
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "x")], env={**os.environ, "PYTHONPATH": "."})
    assert done.returncode == -signal.SIGKILL
    assert [path.name for path in (tmp_path / "x").iterdir()] == ["old"]
    with files.replacing(tmp_path / "x", directory=True) as temporary:
        (temporary / "new").touch()
    assert [path.relative_to(tmp_path).as_posix() for path in sorted(tmp_path.rglob("*"))] == ["x", "x/new"]


@pytest.mark.parametrize(("umask", "file_mode", "folder_mode"), [(0o022, 0o644, 0o755), (0o027, 0o640, 0o750)])
@pytest.mark.parametrize("directory", [False, True])
def test_permissions_are_what_the_umask_says(
    tmp_path: Path, umask: int, file_mode: int, folder_mode: int, directory: bool
) -> None:
    before = os.umask(umask)
    try:
        with files.replacing(tmp_path / "x", directory=directory) as temporary:
            private = temporary / "deep" / "weights" if directory else temporary
            private.parent.mkdir(exist_ok=True)
            private.write_text("readable by the owner alone, as safetensors writes it")
            private.chmod(0o600)
    finally:
        os.umask(before)
    for path in (tmp_path / "x").rglob("*") if directory else [tmp_path / "x"]:
        assert path.stat().st_mode & 0o777 == (folder_mode if path.is_dir() else file_mode), path


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
