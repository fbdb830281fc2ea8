"""Files that are either whole or not there: temporary sibling, fsync, rename; and their digests."""

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .errors import InputError


def sha256(path: Path) -> str:
    """Hex digest of one file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(*parts: object) -> str:
    """Hex sha256 of JSON-able parts, keys sorted: the fingerprint of a configuration or of a set of inputs."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def read_json(path: Path) -> Any:
    """The parsed file."""
    return json.loads(path.read_text())


def write_json(path: Path, value: object) -> None:
    """Write ``value`` with sorted keys, atomically."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, sort_keys=True, default=str) + "\n")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _discard(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def replacing(path: Path, *, directory: bool = False) -> Iterator[Path]:
    """Yield a temporary sibling of ``path``, empty, to write to; on success it is synced and takes the name ``path``.

    On failure nothing is left, parent folders made for it included; what a killed writer left behind is discarded by
    the next one. What stands at ``path`` is replaced: the caller has decided before that it may go. Raises InputError
    while another writes there.
    """
    made = [folder for folder in path.parents if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary, replaced = (path.with_name(f".{path.name}.{suffix}") for suffix in ("partial", "replaced"))
    with _held(temporary, path, directory):
        _discard(replaced)
        try:
            yield temporary
            for member in [*temporary.rglob("*"), temporary] if directory else [temporary]:
                _sync(member)
            if directory and path.exists():
                path.rename(replaced)  # a folder can't be renamed over: for a moment there is none, but never half
            temporary.rename(path)
            _sync(path.parent)
            _discard(replaced)
        except BaseException:
            _discard(temporary)
            for folder in made:
                with suppress(OSError):
                    folder.rmdir()
            raise


@contextmanager
def _held(temporary: Path, path: Path, directory: bool) -> Iterator[None]:
    """Make ``temporary``, or empty what a killed writer left, and lock it; the system unlocks what a process held."""
    if temporary.is_symlink() or (temporary.exists() and temporary.is_dir() != directory):
        _discard(temporary)
    while True:
        if directory:
            temporary.mkdir(exist_ok=True)
        descriptor = os.open(temporary, os.O_RDONLY if directory else os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _lock(descriptor, path)
            if not temporary.exists() or not os.path.samestat(os.fstat(descriptor), temporary.stat()):
                continue  # its holder ended meanwhile, and it has its final name
            for left in temporary.iterdir() if directory else ():
                _discard(left)
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
        raise InputError(f"{path} is being written by another process; wait for its end") from error
