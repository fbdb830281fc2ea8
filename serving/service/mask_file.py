"""The mask on disk: one process writes it, and every process that serves from it sees the change."""

import fcntl
from collections.abc import Sequence
from pathlib import Path

from recsys.answers import Mask


class MaskFile:
    """A file with the items that may not be recommended for now. Threads and processes may share it.

    Args:
        path: Where it is; it need not be there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: object = None

    def read(self) -> Mask:
        """The mask; without items if there is no file. Raises InputError if it is damaged."""
        self._seen = self._identity()
        return Mask() if self._seen is None else Mask.at(self.path)

    def has_changed(self) -> bool:
        """Whether the file is another one than was read last."""
        return self._identity() != self._seen

    def replace(self, item_ids: Sequence[int | str]) -> Mask:
        """Write a mask with the next version. Raises InputError if the one that is there is damaged."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.with_name(f".{self.path.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # of another process, which writes for a moment
            mask = Mask(version=self.read().version + 1, item_ids=tuple(item_ids))
            mask.save(self.path)
            self._seen = self._identity()
            return mask

    def _identity(self) -> object:
        try:
            stat = self.path.stat()
        except OSError:
            return None
        return stat.st_ino, stat.st_mtime_ns, stat.st_size
