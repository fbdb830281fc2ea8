"""The bytes of a bundle: read once, compared with its seal, and only then parsed.

A seal shows that nothing changed since it was made, not that what was sealed is sound: whoever changes a member can
make a new seal. So every member is checked again, against the others, before anything large is allocated and before
native code parses it. All that can be wrong with it is one ``BundleError``.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from ..errors import BundleError, reason
from .seal import verify

IN_MEMORY = 512 << 20  # bytes: larger members are mapped, and cutting them under a running process kills it
SHARED = 1 << 20  # bytes: where processes are to share members, larger ones are mapped
BLOCK = 1 << 20  # bytes
MAX_JSON = 128 << 20  # bytes; parsed, they take several times as many

Bytes = npt.NDArray[np.uint8]


class Contents:
    """The members of a verified bundle. bundle_id: its id."""

    def __init__(self, path: Path, expected_id: str | None = None, *, mapped: bool = False) -> None:
        """Read and verify the bundle at ``path``. Raises BundleError as ``verify`` does.

        mapped: map all but small members, so that processes share their memory.
        """
        self._path = path
        self._in_memory = SHARED if mapped else IN_MEMORY
        self._members: dict[str, Bytes] = {}
        self.bundle_id = verify(path, expected_id, self._digest)

    def require(self, members: frozenset[str]) -> None:
        """Raise BundleError unless the bundle has exactly these members."""
        for name in sorted(set(self._members) ^ members):
            fault = "is no part of such a bundle" if name in self._members else "is not in it"
            raise BundleError(f"bundle {self._path}: {name} {fault}, whatever its seal says; fetch or publish it again")

    @contextmanager
    def member(self, name: str) -> Iterator[Bytes]:
        """The bytes of a member, which are to be parsed and checked inside this context. Writing to them changes no
        file. Raises BundleError for whatever goes wrong inside.
        """
        with self.blamed(name):
            yield self._members[name]
        self._members[name] = np.empty(0, np.uint8)  # what was not parsed into views is no longer needed

    @contextmanager
    def blamed(self, name: str) -> Iterator[None]:
        """Raise BundleError, which names this member, for whatever goes wrong inside."""
        try:
            yield
        except (Exception, pl.exceptions.PanicException) as error:  # native readers raise a great many kinds
            raise BundleError(
                f"bundle {self._path}: {name} does not fit the bundle ({reason(error)}); fetch or publish it again"
            ) from error

    def _digest(self, member: Path) -> str:
        if member.suffix == ".json" and member.stat().st_size > MAX_JSON:
            raise BundleError(f"bundle {self._path}: {member.name} is too large; fetch or publish it again")
        size = member.stat().st_size
        content = np.empty(size, np.uint8) if size <= self._in_memory else np.memmap(member, np.uint8, mode="c")
        self._members[member.name] = content
        digest = hashlib.sha256()
        with member.open("rb", buffering=0) as file:
            for start in range(0, size, BLOCK):  # copied and digested while it is in the processor's cache
                block = content[start : start + BLOCK]
                if size <= self._in_memory and file.readinto(block.data) != len(block):
                    raise BundleError(f"bundle {self._path}: {member.name} changed while it was read; read it again")
                digest.update(block.data)
        return digest.hexdigest()
