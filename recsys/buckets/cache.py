"""What is kept on this machine of folders in buckets: copies to read, and folders on their way to a bucket.

    CACHE/copies/DIGEST/files/      a copy, by the digest of its manifest: any of its files, whole and verified
    CACHE/copies/DIGEST/lock        held while files are added
    CACHE/uploads/DIGEST/files/     what is being written for an address, by its digest

CACHE is the folder ``buckets`` in RECSYS_CACHE, else in ~/.cache/recsys.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from .. import files
from ..errors import InputError
from ..paths import local_path


def cache_folder() -> Path:
    """The folder in which all of it is kept."""
    return local_path(os.environ.get("RECSYS_CACHE") or "~/.cache/recsys").absolute() / "buckets"


@contextmanager
def adding_to_copy(digest: str) -> Iterator[Path]:
    """The folder of a copy's files, for whoever adds some; another process on this machine waits."""
    copy = cache_folder() / "copies" / digest
    with files.input_error_if_unwritable(copy):
        (copy / "files").mkdir(parents=True, exist_ok=True)
        lock = (copy / "lock").open("w")
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield copy / "files"


def keep_as_copy(folder: Path, digest: str) -> None:
    """Make a folder that has just been uploaded the copy that is read, without copying it."""
    with adding_to_copy(digest) as copy:
        files.discard(copy)
        folder.rename(copy)


@contextmanager
def upload_folder(address: str) -> Iterator[Path]:
    """The folder in which to write what is to be uploaded to an address. What an earlier process wrote is still there.

    Raises:
        InputError: Another process on this machine writes to that address.
    """
    folder = cache_folder() / "uploads" / files.digest(address)
    try:
        files.require_writable(folder)
    except InputError as error:
        raise InputError(f"{error}: RECSYS_CACHE names the folder for what is on its way to a bucket") from error
    with ExitStack() as lock:
        try:
            locked = lock.enter_context(files.adding_to(folder))
        except InputError as error:
            raise InputError(str(error).replace(str(folder), address)) from error
        yield locked / "files"
