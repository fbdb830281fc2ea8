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


def test_a_link_is_replaced_and_its_target_kept(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "kept").touch()
    (tmp_path / "x").symlink_to("target")
    with files.replacing(tmp_path / "x", directory=True) as temporary:
        (temporary / "new").touch()
    assert (tmp_path / "target" / "kept").exists()
    assert [path.name for path in (tmp_path / "x").iterdir()] == ["new"]


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
