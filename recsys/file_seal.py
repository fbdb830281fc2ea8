"""The size and the digest of a file, by which it is recognised."""

from pathlib import Path

from pydantic import BaseModel

from . import files


class FileSeal(BaseModel, frozen=True):
    """The size of a file in bytes, and the digest of its content."""

    bytes: int
    sha256: str

    @staticmethod
    def of(path: Path) -> "FileSeal":
        """Read a whole file."""
        return FileSeal(bytes=path.stat().st_size, sha256=files.sha256(path))

    def fault(self, path: Path) -> str | None:
        """What is wrong with ``path``; None if it is the sealed file."""
        if not path.is_file() or path.is_symlink():
            return f"{path.name} is missing"
        return None if FileSeal.of(path) == self else f"{path.name} was changed after it was written"
