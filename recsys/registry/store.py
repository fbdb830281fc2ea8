"""The model registry: versions, aliases, the version history, and the files behind a version.

mlflow takes seconds to import, so it is imported where it is used.
"""

import importlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

from ..bundle import verify
from ..errors import InputError
from .artifacts import bundle_in, folder_of, require_place, upload, writing
from .database import is_there, make_database, require_usable, require_writable
from .deadline import BoundedClient, bounded, lookup
from .location import Location
from .lock import locked
from .mlflow_errors import ABSENT, clear_errors, unless
from .names import check_name
from .publication import register, versions_of
from .runs import RunRecord
from .server import require_server
from .version_history import VersionChange
from .versions import Version

if TYPE_CHECKING:
    from mlflow import MlflowClient

CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"
EVENT_TAG = "recsys.event."
STORES = [
    f"mlflow.store.{kind}.{store}_store" for kind in ("tracking", "model_registry") for store in ("rest", "sqlalchemy")
]


class Registry:
    """One MLflow tracking store and model registry. Other uses of MLflow in the process notice nothing of it."""

    def __init__(self, uri: str | None = None) -> None:
        """Open the registry at ``uri``, else at MLFLOW_TRACKING_URI, else at mlflow.db in the working directory."""
        self._location = Location.of(uri)
        self._answered = False  # whether a server has

    @property
    def uri(self) -> str:
        """The registry's address, for messages: without password."""
        return self._location.shown

    @property
    def client(self) -> "MlflowClient":
        """A client of this store; creates its database if there is none."""
        import mlflow

        location = self._location
        if location.database is None:
            if location.address.startswith("http") and not self._answered:
                require_server(location)
                self._answered = True
            for module in STORES:  # imported here, so that no deadline falls into the middle of an import
                importlib.import_module(module)
            client = bounded(mlflow.MlflowClient, location.address, location.address)
            return cast("MlflowClient", BoundedClient(client))
        if not self._exists:
            require_writable(location.database)
            make_database(location.database)
        else:
            require_usable(location.database)
        return mlflow.MlflowClient(location.address, location.address)

    def require_ready(self, name: str) -> None:
        """Check, before hours of work, that a model of that name can be published here.

        Where there is no database yet, none is made. Elsewhere the model's lock is taken and released, which is the
        only proof that something can be written.

        Raises:
            InputError: It cannot, and why.
        """
        check_name(name)
        location = self._location
        if location.database is not None:
            require_writable(location.database)
        with clear_errors(location):
            experiment = None
            if self._exists:
                experiment = self.client.get_experiment_by_name(name)
                with locked(self.client, name):
                    pass
            require_place(location, experiment, self._artifact_root(name))

    def version(self, name: str, alias: str) -> Version | None:
        """The version that an alias points to, or None."""
        with self._in_use():
            number = self._aliases(name).get(alias)
            return self.numbered(name, number) if number is not None else None

    def numbered(self, name: str, number: int) -> Version:
        """The version of that number. Raises InputError if there is none."""
        with self._in_use():
            entity = unless(ABSENT, self.client.get_model_version, name, str(number)) if self._exists else None
        if entity is None:
            raise InputError(f"{name!r} has no version {number} in {self.uri}; see `mlflow ui`, or give --registry")
        return Version.of(entity)

    def versions(self, name: str) -> list[Version]:
        """All versions, oldest first."""
        with self._in_use():
            return versions_of(self.client, name)

    def publish(self, name: str, bundle: Path, bundle_id: str, record: RunRecord) -> Version:
        """Register a bundle once: a second call with the same bundle id returns the version of the first."""
        check_name(name)
        with clear_errors(self._location), writing(self._location):
            client, artifact_root = self.client, self._artifact_root(name)
            require_place(self._location, client.get_experiment_by_name(name), artifact_root)
            return register(client, name, bundle, bundle_id, record, artifact_root)

    @contextmanager
    def locked(self, name: str) -> Iterator[Callable[[], None]]:
        """Hold the lock of a model (see lock.py); yields a function that raises InputError if it was lost."""
        with clear_errors(self._location), locked(self.client, name) as check_lock:
            yield check_lock

    def move(self, name: str, alias: str, version: Version | None) -> None:
        """Point an alias at a version, or remove it if ``version`` is None.

        Raises:
            InputError: another process moved the alias meanwhile.
        """
        number = None if version is None else version.number
        with clear_errors(self._location):
            if number is None:
                self.client.delete_registered_model_alias(name, alias)
            else:
                self.client.set_registered_model_alias(name, alias, str(number))
        moved_to = self._aliases(name).get(alias)
        if moved_to != number:
            raise InputError(
                f"{name}@{alias} was set to version {number} and is at {moved_to}: another process moved it without "
                "the lock; look at `recsys history`, then run this again"
            )

    def log_change(self, name: str, change: VersionChange) -> None:
        """Add a change to the version history: a tag of its own, whose name sorts by time."""
        with clear_errors(self._location):
            self.client.set_registered_model_tag(name, f"{EVENT_TAG}{time.time_ns():020d}", change.model_dump_json())

    def changes(self, name: str) -> list[VersionChange]:
        """The version history, oldest change first."""
        with self._in_use():
            model = unless(ABSENT, self.client.get_registered_model, name) if self._exists else None
            tags = {} if model is None else model.tags
            return [VersionChange.model_validate_json(tags[key]) for key in sorted(tags) if key.startswith(EVENT_TAG)]

    def tag(self, version: Version, key: str, value: str) -> None:
        """Set a tag on a version."""
        with clear_errors(self._location):
            self.client.set_model_version_tag(version.name, str(version.number), key, value)

    def log_file(self, version: Version, path: Path, folder: str) -> None:
        """Store a file beside the version's other records."""
        with clear_errors(self._location), writing(self._location):
            upload(self.client, version.run_id, path, folder)

    def events_of(self, version: Version) -> str | None:
        """Where the events are that the version was trained on, if its run is there and says so."""
        with self._in_use():
            run = unless(ABSENT, self.client.get_run, version.run_id) if version.run_id else None
            given = run.inputs.dataset_inputs if run is not None and run.inputs else []
            return str(given[0].dataset.source) if given else None

    def records(self, version: Version) -> Path:
        """The records that were published with the version."""
        with clear_errors(self._location):
            return folder_of(self.client, self._location, version, "records")

    def bundle_path(self, version: Version) -> Path:
        """Where the version's bundle should be; whoever loads it checks that its id is ``version.bundle_id``."""
        version.require_bundle_id()
        with clear_errors(self._location):
            return bundle_in(folder_of(self.client, self._location, version, "model"), version)

    def require_bundle(self, version: Version) -> None:
        """Check every byte of a version's bundle. Raises BundleError if it is damaged, or another one."""
        verify(self.bundle_path(version), version.bundle_id)

    @contextmanager
    def _in_use(self) -> Iterator[None]:
        """For one look-up: it ends in time, and with one clear line if it fails."""
        with clear_errors(self._location), lookup():
            yield

    @property
    def _exists(self) -> bool:
        """Whether the store is there; a mere look must not create its database."""
        return self._location.database is None or is_there(self._location.database)

    def _aliases(self, name: str) -> dict[str, int]:
        with self._in_use():
            model = unless(ABSENT, self.client.get_registered_model, name) if self._exists else None
            return {} if model is None else {alias: int(number) for alias, number in model.aliases.items()}

    def _artifact_root(self, name: str) -> str | None:
        """The folder for artifacts beside the database; None for a server, which has its own."""
        if self._location.address.startswith("http"):
            return None
        folder = self._location.database.parent if self._location.database is not None else Path.cwd()
        return (folder / "mlartifacts" / name).as_uri()
