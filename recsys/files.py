"""Files that are either whole or not there: temporary sibling, fsync, rename; and their digests."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


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
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def replacing(path: Path, *, directory: bool = False) -> Iterator[Path]:
    """Yield a temporary sibling of ``path`` to write to; on success it is synced and takes the name ``path``.

    What a killed writer left behind is discarded by the next one. A directory replaces nothing but an absent or
    unfinished one: the caller has decided before that ``path`` may go.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.partial")
    _discard(temporary)
    if directory:
        temporary.mkdir()
    try:
        yield temporary
        for member in [*temporary.rglob("*"), temporary] if directory else [temporary]:
            _sync(member)
        if directory:
            _discard(path)
        temporary.rename(path)
        _sync(path.parent)
    except BaseException:
        _discard(temporary)
        raise
