"""A table on disk that is read again when it changes: the log, or the items."""

import logging
from collections.abc import Callable

from recsys.data import source_identities
from recsys.errors import InputError

from .served import Served

logger = logging.getLogger(__name__)


class Watched:
    """A table that what serves is made with.

    Args:
        role: "events" or "items".
        location: A file, a pattern of files or a folder; None: there is no such table.
        take: From what serves and the location to the same with the table.

    Attributes:
        fault: Why the table could not be read the last time; None if it could.
    """

    def __init__(self, role: str, location: str | None, take: Callable[[Served, str], Served]) -> None:
        self.role, self.location, self._take = role, location, take
        self._seen: object = None
        self.fault: str | None = None

    def has_changed(self) -> bool:
        """Whether the files are others than were read last, or tried."""
        return self.location is not None and self._identities() != self._seen

    def added_to(self, served: Served) -> Served:
        """The same with the table as it is now. Raises InputError if it cannot be read."""
        if self.location is None:
            return served
        self._seen = self._identities()  # before it is read, so that a change meanwhile is a change
        try:
            added = self._take(served, self.location)
        except (InputError, OSError) as error:
            self.fault = str(error)
            raise InputError(str(error)) from error
        self.fault = None
        return added

    def forget(self) -> None:
        """Take the files as changed: what was read of them is not served."""
        self._seen = None

    def _identities(self) -> object:
        try:
            return source_identities(str(self.location), self.role)
        except (InputError, OSError) as error:
            return str(error)
