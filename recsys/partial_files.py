"""Files that several processes write to a folder that is not finished."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from . import files

PARTIAL = ".partial"


@contextmanager
def appearing(path: Path) -> Iterator[Path]:
    """Write a file of a folder that is not finished: yield a temporary sibling, then rename it; nothing is synced.

    Several processes may write the same bytes at once, since one that seemed lost may still run: the last one stays. A
    killed process leaves its sibling; ``discard_partial`` removes those of all.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}{PARTIAL}")
    try:
        yield temporary
        temporary.rename(path)
    except BaseException:
        files.discard(temporary)
        raise


def discard_partial(folder: Path) -> None:
    """Remove what killed processes left anywhere in a folder."""
    for leftover in folder.rglob(f".*{PARTIAL}"):
        files.discard(leftover)
