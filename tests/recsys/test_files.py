import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from recsys import files


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
