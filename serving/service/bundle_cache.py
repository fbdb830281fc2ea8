"""Bundles on this machine's disk, by their ids, and which one served last: what the service starts from when the
registry is down.

CACHE/BUNDLE_ID/bundle         the bundle, verified before it is there
CACHE/BUNDLE_ID/golden.json    its recorded answers, and
CACHE/BUNDLE_ID/map.json       its items on a plane, if it has any
CACHE/locks/BUNDLE_ID          held while a worker fetches it
CACHE/served/DIGEST.json       what a model's alias pointed to when it was last asked
"""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from recsys import files
from recsys.bundle import verify
from recsys.errors import InputError
from recsys.record import Record
from recsys.registry import Registry, Version
from recsys.retriever import GoldenAnswers, ItemMap


class LastServed(Record):
    """What an alias pointed to. registry: its address, without password."""

    FILE: ClassVar[str] = "served.json"

    registry: str
    name: str
    alias: str
    version: int
    bundle_id: str


class BundleCache:
    """A folder of bundles. Several services may share it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def fetch(self, registry: Registry, version: Version) -> Path:
        """The folder of a version: copied from the registry and verified, unless it is there.

        Raises:
            InputError: The registry does not answer, or the bundle is damaged (BundleError).
        """
        version.require_bundle_id()
        folder = self.folder_of(version.bundle_id)
        if self._is_whole(version.bundle_id):
            return folder
        with self._alone(version.bundle_id):
            if not self._is_whole(version.bundle_id):  # another worker may have fetched it meanwhile
                self._copy(registry, version, folder)
        return folder

    def _copy(self, registry: Registry, version: Version, folder: Path) -> None:
        bundle = registry.bundle_path(version)
        files.discard(folder)
        with files.replacing(folder, directory=True) as temporary:
            shutil.copytree(bundle, temporary / "bundle")
            verify(temporary / "bundle", version.bundle_id)
            for recorded in (registry.records(version) / name for name in (GoldenAnswers.FILE, ItemMap.FILE)):
                if recorded.is_file():
                    shutil.copyfile(recorded, temporary / recorded.name)

    @contextmanager
    def _alone(self, bundle_id: str) -> Iterator[None]:
        """Wait for other workers that fetch the same bundle."""
        locks = self._folder / "locks"
        locks.mkdir(parents=True, exist_ok=True)
        with (locks / bundle_id).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def folder_of(self, bundle_id: str) -> Path:
        """Where a bundle is, or would be."""
        return self._folder / bundle_id

    def remember(self, served: LastServed) -> None:
        """Keep what serves, for a start without the registry."""
        path = self._path_of(served.registry, served.name, served.alias)
        path.mkdir(parents=True, exist_ok=True)
        served.write(path)

    def recall(self, registry: str, name: str, alias: str) -> LastServed:
        """What served last for this alias of this registry, if it is still whole.

        Raises:
            InputError: There is nothing.
        """
        path = self._path_of(registry, name, alias)
        if not (path / LastServed.FILE).is_file():
            raise InputError(f"nothing in {self._folder} was served for {name}@{alias} of {registry} before")
        served = LastServed.read(path)
        if (served.registry, served.name, served.alias) != (registry, name, alias):
            raise InputError(f"{path / LastServed.FILE} is of {served.name}@{served.alias} of {served.registry}")
        verify(self.folder_of(served.bundle_id) / "bundle", served.bundle_id)
        return served

    def keep_only(self, bundle_ids: set[str]) -> None:
        """Delete all other bundles that this alias brought here."""
        kept = bundle_ids | {LastServed.read(path).bundle_id for path in (self._folder / "served").glob("*")}
        for folder in self._folder.iterdir():
            if folder.name != "served" and folder.name not in kept and len(folder.name) == 64:
                files.discard(folder)

    def _is_whole(self, bundle_id: str) -> bool:
        try:
            verify(self.folder_of(bundle_id) / "bundle", bundle_id)
        except InputError:
            return False
        return True

    def _path_of(self, registry: str, name: str, alias: str) -> Path:
        return self._folder / "served" / files.digest(registry, name, alias)[:16]


def records_beside(bundle: Path) -> Path | None:
    """The folder of the records that publishing wrote beside a bundle; None if there is none."""
    records = bundle.parent / "records"
    return records if (records / GoldenAnswers.FILE).is_file() else None
