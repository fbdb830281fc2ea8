"""Files that are whole or absent (temporary sibling, fsync, rename), and their digests."""

import fcntl
import hashlib
import json
import os
import shutil
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .errors import InputError

_umask_lock = threading.Lock()


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
    except (ValueError, KeyError, TypeError, AttributeError) as error:  # also of json, pydantic and pyarrow
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path} is damaged, or of another release ({reason}); restore it or make it again") from error


def write_json(path: Path, value: object) -> None:
    """Write ``value`` with sorted keys, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, sort_keys=True, default=str) + "\n")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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


def _discard(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def replacing(path: Path, *, directory: bool = False) -> Iterator[Path]:
    """Replace a file or folder as a whole: yield an empty temporary sibling to write to, then sync and rename it.

    After a failure nothing is left, not even the parent folders that were created. The next writer discards what a
    killed one left.

    Args:
        path: What to write. Whatever is there is replaced; the caller has made sure that it may be.
        directory: Whether ``path`` is a folder.

    Raises:
        InputError: Another process is writing to ``path``.
    """
    created = [folder for folder in path.parents if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary, replaced = (path.with_name(f".{path.name}.{suffix}") for suffix in ("partial", "replaced"))
    with _locked_and_empty(temporary, path, directory):
        _discard(replaced)
        try:
            yield temporary
            for member in [*temporary.rglob("*"), temporary] if directory else [temporary]:
                _let_others_read(member)
                _sync(member)
            if directory and path.exists():
                path.rename(replaced)  # rename cannot replace a folder: for a moment there is none, but never half
            temporary.rename(path)
            _sync(path.parent)
            _discard(replaced)
        except BaseException:
            _discard(temporary)
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
        _discard(temporary)
    while True:
        if directory:
            temporary.mkdir(exist_ok=True)
        descriptor = os.open(temporary, os.O_RDONLY if directory else os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _lock(descriptor, path)
            if not temporary.exists() or not os.path.samestat(os.fstat(descriptor), temporary.stat()):
                continue  # the writer before has just renamed it to its final name
            for leftover in temporary.iterdir() if directory else ():
                _discard(leftover)
            if not directory:
                os.truncate(descriptor, 0)
            yield
            return
        finally:
            os.close(descriptor)


def _lock(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise InputError(f"{path} is being written by another process; wait until it has ended") from error
