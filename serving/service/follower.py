"""Which bundle should serve: asks the registry in a thread of its own, and prepares what it names."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from recsys.errors import InputError, RegistryError
from recsys.registry import MODEL_URI, Registry

from .bundle_cache import BundleCache, LastServed, records_beside
from .served import Served

Load = Callable[[Path, str | None, Path | None, int | None], Served]  # a bundle, its id, its records, its number

logger = logging.getLogger(__name__)
POLL_SECONDS = 2.0  # between two questions to the registry; a promotion answers within ten seconds
RETRY_SECONDS = 60.0  # before a version that was refused is tried again: somebody may have restored its files


@dataclass(frozen=True)
class Refusal:
    """A version that was not taken, and why. since: by time.monotonic."""

    version: int
    reason: str
    since: float


class Follower:
    """Follows an alias of a model: ``models:/NAME@alias``; or loads a bundle folder or one version, once.

    Args:
        source: What to serve.
        registry_uri: See ``Registry``.
        cache: Where bundles are kept.
        load: ``Served.load``, with the device and the encoders.
        serve: Called with each new version that is ready, in the follower's thread. An InputError refuses it.

    Attributes:
        refused: The last version that was offered and not taken; None if the last one was.
        registry_fault: Why the registry could not be asked the last time; None if it could.
    """

    def __init__(
        self, source: str, registry_uri: str | None, cache: BundleCache, load: Load, serve: Callable[[Served], None]
    ) -> None:
        self._source, self._cache, self._load_served, self._serve = source, cache, load, serve
        self._registry = Registry(registry_uri)
        self._stop = threading.Event()
        self._current: Served | None = None
        self._previous: Served | None = None
        self.refused: Refusal | None = None
        self.registry_fault: str | None = None
        parts = MODEL_URI.fullmatch(source)
        self._name: str | None = parts["name"] if parts else None
        self._alias: str | None = parts["alias"] if parts else None
        self._number = int(parts["version"]) if parts and parts["version"] else None
        self._thread = threading.Thread(target=self._run, daemon=True, name="follows the registry")

    @property
    def previous(self) -> Served | None:
        """What served before, kept for an instant rollback."""
        return self._previous

    def start(self) -> Served:
        """Load what is to serve now, and follow the alias from then on.

        Raises:
            InputError: There is nothing that can serve: neither in the registry nor, if that is down, in the cache.
        """
        if self._name is None:
            first = self._load_served(Path(self._source), None, records_beside(Path(self._source)), None)
        elif self._alias is None:
            first = self._load(self._number or 0)
        else:
            first = self._first_of_alias(self._name, self._alias)
            self._thread.start()
        self._current = first
        return first

    def close(self) -> None:
        """End the thread."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _first_of_alias(self, name: str, alias: str) -> Served:
        try:
            version = self._registry.version(name, alias)
        except RegistryError as error:
            try:
                last = self._cache.recall(self._registry.uri, name, alias)
            except InputError as missing:
                raise RegistryError(f"{error}; and {missing}") from error
            self.registry_fault = str(error)
            logger.warning("%s; starts with version %d from the cache", error, last.version)
            folder = self._cache.folder_of(last.bundle_id)
            return self._load_served(folder / "bundle", last.bundle_id, folder, last.version)
        if version is None:
            raise InputError(f"{name!r} has no {alias} in {self._registry.uri}; publish and promote a model first")
        first = self._load(version.number)
        self._remember(first)
        return first

    def _run(self) -> None:
        while not self._stop.wait(POLL_SECONDS):
            try:
                self.poll()
            except Exception:  # whatever it is, the present version goes on serving
                logger.exception("following %s failed", self._source)

    def poll(self) -> None:
        """Ask the registry once, and serve what it names now."""
        assert self._name is not None
        assert self._alias is not None
        assert self._current is not None
        try:
            version = self._registry.version(self._name, self._alias)
            self.registry_fault = None
        except RegistryError as error:
            self.registry_fault = str(error)
            return
        if version is None or version.number == self._current.version or self._was_refused(version.number):
            return
        previous = self._previous
        try:
            is_back = previous is not None and previous.version == version.number
            new = previous if is_back and previous is not None else self._load(version.number)
            self._serve(new)
        except InputError as error:
            self.refused = Refusal(version.number, str(error), time.monotonic())
            logger.error("version %d is not served: %s", version.number, error)
            return
        self._previous, self._current, self.refused = self._current, new, None
        self._remember(new)

    def _was_refused(self, number: int) -> bool:
        refused = self.refused
        return refused is not None and refused.version == number and time.monotonic() - refused.since < RETRY_SECONDS

    def _load(self, number: int) -> Served:
        version = self._registry.numbered(str(self._name), number)
        folder = self._cache.fetch(self._registry, version)
        return self._load_served(folder / "bundle", version.bundle_id, folder, number)

    def _remember(self, served: Served) -> None:
        assert served.version is not None
        self._cache.remember(
            LastServed(
                registry=self._registry.uri, name=str(self._name), alias=str(self._alias),
                version=served.version, bundle_id=served.bundle_id,
            )
        )  # fmt: skip
        kept = {served.bundle_id} | ({self._previous.bundle_id} if self._previous is not None else set())
        self._cache.keep_only(kept)
