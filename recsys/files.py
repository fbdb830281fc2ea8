"""Files that are whole or absent (temporary sibling, fsync, rename), and their digests."""

import errno
import fcntl
import hashlib
import json
import os
import shutil
import stat
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from .errors import InputError, reason

_umask_lock = threading.Lock()
_PARTIAL, _WHOLE = ".partial", ".whole"  # what is being written inside a folder, and what only has to appear in it


def sha256(path: Path) -> str:
    """Hex digest of one file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(*parts: object) -> str:
    """Hex sha256 of values that fit in JSON, keys sorted: the fingerprint of a configuration or of inputs."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def read_json(path: Path) -> Any:
    """Parse a JSON file. Raises InputError if it is damaged."""
    with input_error_if_damaged(path):
        return json.loads(path.read_text())


@contextmanager
def input_error_if_damaged(path: Path) -> Iterator[None]:
    """Turn what parsing a damaged file raises into one InputError that names the file."""
    try:
        yield
    except InputError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:  # also of json and pydantic
        raise InputError(
            f"{path} is damaged, or of another release ({reason(error)}); restore it or make it again"
        ) from error


def as_json(value: object) -> bytes:
    """The only bytes that ``write_json`` writes for ``value``: keys sorted, one a line."""
    return (json.dumps(value, indent=2, sort_keys=True, default=str) + "\n").encode()


def write_json(path: Path, value: object) -> None:
    """Write ``value``, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(as_json(value))


@contextmanager
def _opened(path: Path, flags: int = os.O_RDONLY) -> Iterator[int]:
    descriptor = os.open(path, flags, 0o666)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _sync(path: Path) -> None:
    with _opened(path) as descriptor:
        os.fsync(descriptor)


def _let_others_read(path: Path) -> None:
    """Give a file or folder the permissions of one that is created plainly: safetensors creates its files as 0600.

    Permissions are only added, since a folder's access control list may have granted more than the umask.
    """
    with _umask_lock:
        umask = os.umask(0o077)  # it can only be read by setting it
        os.umask(umask)
    mode = path.stat().st_mode
    wanted = mode | ((0o777 if path.is_dir() else 0o666) & ~umask)
    if wanted != mode:
        path.chmod(stat.S_IMODE(wanted))


def discard(path: Path) -> None:
    """Remove a file, a link or a folder with all that is in it, if there is one."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def replacing(path: Path, *, directory: bool = False) -> Iterator[Path]:
    """Replace a file or folder as a whole: yield an empty temporary sibling to write to, then sync and rename it.

    Links are followed first. A folder that is there and empty is kept, with its owner and permissions (it may be a
    mount point, which nothing can be renamed over): its members appear at the end, ``manifest.json`` last.

    After a failure nothing is left, no created parent either. The next writer discards what a killed one left.

    Args:
        path: What to write. Whatever is there is replaced; the caller has made sure that it may be.
        directory: Whether ``path`` is a folder.

    Raises:
        InputError: Another process is writing to ``path``, or nothing can be written there.
    """
    target = _target_of(path, directory)
    with _parents_of(target, path), ExitStack() as lock:
        with input_error_if_unwritable(path):
            inside = directory and is_vacant(target) and target.exists()
            if directory and not inside and _is_mount(target):
                raise InputError(f"{path} is a mount point that holds files; empty it, or choose a folder inside it")
            temporary = target / _PARTIAL if inside else target.with_name(f".{target.name}{_PARTIAL}")
            replaced = target.with_name(f".{target.name}.replaced")
            lock.enter_context(_locked_and_empty(temporary, path, directory))
            discard(replaced)
        try:
            yield temporary
            for member in [*temporary.rglob("*"), temporary] if directory else [temporary]:
                _let_others_read(member)
                _sync(member)
            if inside:
                temporary.rename(target / _WHOLE)
                _move_out(target / _WHOLE)
                return
            if directory and target.exists():
                target.rename(replaced)  # rename cannot replace a folder: for a moment there is none, but never half
            temporary.rename(target)
            _sync(target.parent)
            discard(replaced)
        except BaseException:
            discard(temporary)
            raise


def is_vacant(folder: Path) -> bool:
    """Whether there is nothing at ``folder``, or a folder that holds only what a killed writer or the system left.

    If a writer was killed while its finished members appeared, the rest of them appear now.
    """
    whole = folder / _WHOLE
    if whole.is_dir() and not whole.is_symlink():
        with _opened(whole) as descriptor:
            _lock(descriptor, folder)
            _move_out(whole)
    return not folder.exists() or (folder.is_dir() and not members(folder))


def members(folder: Path) -> set[str]:
    """The names in a folder, without what a killed writer left and what every new file system has."""
    names = {entry.name for entry in folder.iterdir()} - {"lost+found"}
    return {name for name in names if not (name.startswith(".") and name.endswith(_PARTIAL))}


def _is_mount(path: Path) -> bool:
    """Whether something is mounted at ``path``, also a folder of the same file system."""
    mounts = Path("/proc/self/mountinfo")  # of Linux
    lines = mounts.read_text().splitlines() if mounts.exists() else []
    return os.path.ismount(path) or any(line.split()[4] == str(path) for line in lines)


def _move_out(whole: Path) -> None:
    """Move a folder's members beside it, the manifest last, and remove it."""
    for member in sorted(whole.iterdir(), key=lambda member: (member.name == "manifest.json", member.name)):
        member.rename(whole.parent / member.name)
    whole.rmdir()
    _sync(whole.parent)


def require_writable(path: Path, *, directory: bool = True) -> None:
    """Try to write at ``path`` before hours of work are spent on what is to be written there. Nothing is left.

    Arguments are those of ``replacing``; the folder may also be one that is only added to.

    Raises:
        InputError: No permission, a read-only or full disk, a file in place of a folder, a name that is too long.
    """
    target = _target_of(path, directory)
    with suppress(_TriedError), _parents_of(target, path), input_error_if_unwritable(path):
        with suppress(FileNotFoundError):
            target.with_name(f".{target.name}.replaced").lstat()  # fails where such a name is too long
        with tempfile.TemporaryFile(dir=target if target.is_dir() else target.parent) as probe:
            probe.write(bytes(4096))
            probe.flush()
            os.fsync(probe.fileno())
        raise _TriedError


class _TriedError(Exception):
    """Ends an attempt that succeeded, so that the parent folders which it created are removed."""


@contextmanager
def input_error_if_unwritable(path: Path) -> Iterator[None]:
    """Turn an operating system's refusal to write ``path`` into one InputError that says why and what to do."""
    try:
        yield
    except OSError as error:
        remedy = _REMEDIES.get(error.errno or 0, "choose another place")
        where = "" if error.filename is None else f" in {Path(error.filename).parent}"
        raise InputError(f"cannot write {path}: {error.strerror}{where}; {remedy}") from error


_REMEDIES = {
    errno.EROFS: "choose another place, or mount that file system for writing",
    errno.ENAMETOOLONG: "choose a shorter name",
    **dict.fromkeys((errno.EACCES, errno.EPERM), "choose another place, or allow this account to write there"),
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "make room there, or choose another place"),
}


def _target_of(path: Path, directory: bool) -> Path:
    """The absolute path behind ``path`` and its links. Raises InputError if it can be no such file or folder."""
    target = Path(os.path.realpath(path))
    if str(target) != os.fsencode(target).decode("utf-8", "replace"):  # Polars and PyArrow could not write it
        raise InputError(f"cannot write {os.fsencode(target)!r}: it is no path in UTF-8; choose another place")
    with input_error_if_unwritable(path):
        if target.is_symlink():
            raise InputError(f"{path} is a link to itself; choose another place or remove it")
        if not target.name:
            raise InputError(f"{path} is the root of the file system; choose a folder inside it")
        if target.exists() and not (target.is_dir() if directory else target.is_file()):
            found = "a folder" if target.is_dir() else "a file" if target.is_file() else "no regular file"
            raise InputError(f"{path} is {found}; expected a {'folder' if directory else 'file'}: choose another place")
    return target


@contextmanager
def adding_to(folder: Path) -> Iterator[Path]:
    """Create a folder if it is missing, and keep other processes that would add to it out; yield its absolute path.

    After a failure the folders that were created are removed, if they are empty.

    Raises:
        InputError: Another process is adding to ``folder``, or nothing can be written there.
    """
    target = _target_of(folder, True)
    with _parents_of(target / "member", folder), _opened(target) as descriptor:
        _lock(descriptor, folder)
        yield target


@contextmanager
def _parents_of(target: Path, path: Path) -> Iterator[None]:
    """Create the missing parent folders of ``target``; remove them after a failure."""
    created: list[Path] = []
    try:
        with input_error_if_unwritable(path):
            for folder in reversed(target.parents):
                if folder.exists() and not folder.is_dir():
                    raise InputError(f"cannot write {path}: {folder} is no folder; choose another place")
                if not folder.exists():
                    folder.mkdir(exist_ok=True)
                    created.insert(0, folder)
        yield
    except BaseException:
        for folder in created:
            with suppress(OSError):
                folder.rmdir()
        raise


@contextmanager
def _locked_and_empty(temporary: Path, path: Path, directory: bool) -> Iterator[None]:
    """Create ``temporary``, or empty what a killed writer left, and hold a lock on it.

    The operating system releases the lock when the process ends, however it ends.
    """
    if temporary.is_symlink() or (temporary.exists() and temporary.is_dir() != directory):
        discard(temporary)
    while True:
        if directory:
            temporary.mkdir(exist_ok=True)
        with _opened(temporary, os.O_RDONLY if directory else os.O_RDWR | os.O_CREAT) as descriptor:
            _lock(descriptor, path)
            if not temporary.exists() or not os.path.samestat(os.fstat(descriptor), temporary.stat()):
                continue  # the writer before has just renamed it to its final name
            for leftover in temporary.iterdir() if directory else ():
                discard(leftover)
            if not directory:
                os.truncate(descriptor, 0)
            yield
            return


def _lock(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise InputError(f"{path} is being written by another process; wait until it has ended") from error
