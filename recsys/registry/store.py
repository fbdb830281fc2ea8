"""The model registry: registering versions, resolving them, moving aliases.

mlflow takes seconds to import, so it is imported where it is used.
"""

import logging
import os
import re
import sqlite3
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ..errors import InputError
from .lock import locked
from .mlflow_errors import ABSENT, THERE_ALREADY, clear_errors, unless
from .runs import BUNDLE_TAG, RunRecord, accepted, log_bundle, log_run
from .version_history import VersionChange

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"
MLFLOW_SETTINGS = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",  # with the defaults, a server that is down blocks for minutes
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
EVENT_TAG = "recsys.event."
MODEL_URI = re.compile(r"models:/(?P<name>[^@/]+)(?:@(?P<alias>[^@/]+)|/(?P<version>\d+))")
MODEL_NAME = re.compile(r"[^/:@'\"\s]([^/:@'\"\n]*[^/:@'\"\s])?")
SQLITE = "sqlite:///"


@dataclass(frozen=True)
class Version:
    """One registered version. run_id: the MLflow run that holds its records. created: in seconds since 1970."""

    name: str
    number: int
    run_id: str
    bundle_id: str
    tags: dict[str, str]
    created: float = 0.0


class Registry:
    """One MLflow tracking store and model registry."""

    def __init__(self, uri: str | None = None) -> None:
        """Open the registry at ``uri``, else at MLFLOW_TRACKING_URI, else at mlflow.db in the working directory."""
        for name, value in MLFLOW_SETTINGS.items():
            os.environ.setdefault(name, value)
        logging.getLogger("alembic").setLevel(logging.WARNING)  # a new database logs 40 migrations
        self.uri = uri or os.environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE}mlflow.db"
        try:
            urlsplit(self.uri)
        except ValueError as error:
            raise InputError(f"registry {self.uri}: {error}; check --registry or MLFLOW_TRACKING_URI") from error
        self._database: Path | None = None
        if self.uri.startswith(SQLITE):
            self._database = Path(self.uri.removeprefix(SQLITE)).absolute()
            self.uri = f"{SQLITE}{self._database}"

    @property
    def client(self) -> "MlflowClient":
        """A client of this store; creates its database if there is none."""
        import mlflow

        if not self._exists:
            self._make_database()
        elif self._database is not None:
            _require_openable(self._database)
        logging.getLogger("mlflow").setLevel(logging.WARNING)  # a migration resets it
        mlflow.set_tracking_uri(self.uri)
        return mlflow.MlflowClient(self.uri, self.uri)

    def version(self, name: str, alias: str) -> Version | None:
        """The version that an alias points to, or None."""
        number = self._aliases(name).get(alias)
        return self.numbered(name, number) if number is not None else None

    def numbered(self, name: str, number: int) -> Version:
        """The version of that number. Raises InputError if there is none."""
        with clear_errors(self.uri):
            entity = unless(ABSENT, self.client.get_model_version, name, str(number)) if self._exists else None
        if entity is None:
            raise InputError(f"{name!r} has no version {number} in {self.uri}; see `mlflow ui`, or give --registry")
        return _version(entity)

    def versions(self, name: str) -> list[Version]:
        """All versions, oldest first."""
        with clear_errors(self.uri):
            entities = self.client.search_model_versions(f"name = '{name}'")
            return sorted((_version(entity) for entity in entities), key=lambda version: version.number)

    def publish(self, name: str, bundle: Path, bundle_id: str, record: RunRecord) -> Version:
        """Register a bundle once: a second call with the same bundle id returns the version of the first.

        The version is created last, when everything it needs is stored, so a killed publication leaves no version.
        """
        from mlflow.exceptions import MlflowException

        check_name(name)
        with clear_errors(self.uri):
            client, record = self.client, accepted(record)
            if (version := self._published(client, name, bundle_id)) is not None:
                return version
            try:
                run_id = log_run(client, name, bundle_id, record, self._artifact_root(name))
                source = log_bundle(client, run_id, bundle)
            except MlflowException:
                if (version := self._published(client, name, bundle_id)) is None:
                    raise
                return version  # another process published it first, and deleted our run
            unless(THERE_ALREADY, client.create_registered_model, name)
            with locked(client, name):
                if (version := self._published(client, name, bundle_id)) is None:
                    client.create_model_version(
                        name, source, run_id, tags={BUNDLE_TAG: bundle_id} | record.tags, description=record.description
                    )
                    version = self._published(client, name, bundle_id)
            assert version is not None
            return version

    def _published(self, client: "MlflowClient", name: str, bundle_id: str) -> "Version | None":
        """The first version of a bundle, or None.

        Its run is marked as finished. What killed, repeated or slower publications of the bundle created is deleted.
        """
        versions = [version for version in self.versions(name) if version.bundle_id == bundle_id]
        if not versions:
            return None
        first, *duplicates = versions
        client.set_terminated(first.run_id)
        for duplicate in duplicates:  # MLflow's client repeats a call whose answer was lost
            unless(ABSENT, client.delete_model_version, name, str(duplicate.number))
        experiment_id = client.get_run(first.run_id).info.experiment_id
        for run in client.search_runs([experiment_id], f"tags.`{BUNDLE_TAG}` = '{bundle_id}'"):
            if run.info.run_id != first.run_id:
                client.delete_run(run.info.run_id)
        return first

    @contextmanager
    def locked(self, name: str) -> Iterator[Callable[[], None]]:
        """Hold the lock of a model (see lock.py); yields a function that raises InputError if it was lost."""
        with clear_errors(self.uri), locked(self.client, name) as check_lock:
            yield check_lock

    def move(self, name: str, alias: str, version: Version | None) -> None:
        """Point an alias at a version, or remove it if ``version`` is None.

        Raises:
            InputError: another process moved the alias meanwhile.
        """
        with clear_errors(self.uri):
            if (number := None if version is None else version.number) is None:
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
        with clear_errors(self.uri):
            self.client.set_registered_model_tag(name, f"{EVENT_TAG}{time.time_ns():020d}", change.model_dump_json())

    def changes(self, name: str) -> list[VersionChange]:
        """The version history, oldest change first."""
        with clear_errors(self.uri):
            model = unless(ABSENT, self.client.get_registered_model, name) if self._exists else None
            tags = {} if model is None else model.tags
            return [VersionChange.model_validate_json(tags[key]) for key in sorted(tags) if key.startswith(EVENT_TAG)]

    def tag(self, version: Version, key: str, value: str) -> None:
        """Set a tag on a version."""
        with clear_errors(self.uri):
            self.client.set_model_version_tag(version.name, str(version.number), key, value)

    def log_file(self, version: Version, path: Path, folder: str) -> None:
        """Store a file beside the version's other records."""
        with clear_errors(self.uri):
            self.client.log_artifact(version.run_id, str(path), folder)

    def events_of(self, version: Version) -> str | None:
        """Where the events are that the version was trained on, if its run says so."""
        with clear_errors(self.uri):
            inputs = self.client.get_run(version.run_id).inputs
            return str(inputs.dataset_inputs[0].dataset.source) if inputs and inputs.dataset_inputs else None

    def records(self, version: Version) -> Path:
        """The records that were published with the version."""
        return self._artifacts(version, "records")

    def bundle_path(self, version: Version) -> Path:
        """The version's bundle."""
        return next((self._artifacts(version, "model") / "data").iterdir())

    def _artifacts(self, version: Version, name: str) -> Path:
        """A folder of the version's run: the original if it is local, else a copy that is deleted with this process."""
        from mlflow.artifacts import download_artifacts

        with clear_errors(self.uri):
            uri = f"{self.client.get_run(version.run_id).info.artifact_uri}/{name}"
            if uri.startswith("file:"):
                return Path(download_artifacts(artifact_uri=uri))  # the original
            copy = tempfile.mkdtemp(dir=_copies().name)
            return Path(download_artifacts(artifact_uri=uri, dst_path=copy, tracking_uri=self.uri))

    @property
    def _exists(self) -> bool:
        """Whether the store is there; a mere look must not create its database."""
        return self._database is None or self._database.exists()

    def _make_database(self) -> None:
        """Create the database, whole or not at all.

        MLflow takes seconds for it, and leaves a broken one if it is killed or if two processes do it at once.
        """
        import mlflow

        assert self._database is not None
        temporary = self._database.with_name(f".{self._database.name}.{uuid.uuid4().hex}.partial")
        try:
            _require_openable(temporary)
            mlflow.MlflowClient(f"{SQLITE}{temporary}").search_experiments()
            with suppress(FileExistsError):  # another process was faster
                self._database.hardlink_to(temporary)
        finally:
            temporary.unlink(missing_ok=True)

    def _aliases(self, name: str) -> dict[str, int]:
        with clear_errors(self.uri):
            model = unless(ABSENT, self.client.get_registered_model, name) if self._exists else None
            return {} if model is None else {alias: int(number) for alias, number in model.aliases.items()}

    def _artifact_root(self, name: str) -> str | None:
        """The folder for artifacts beside the database; None for a server, which has its own."""
        if self.uri.startswith("http"):
            return None
        folder = self._database.parent if self._database is not None else Path.cwd()
        return (folder / "mlartifacts" / name).as_uri()


def resolve(source: str, uri: str | None = None) -> Path:
    """The local bundle folder that a path, ``models:/NAME@alias`` or ``models:/NAME/VERSION`` means."""
    if not source.startswith("models:"):
        return Path(source)
    parts = MODEL_URI.fullmatch(source)
    if parts is None:
        raise InputError(
            f"{source!r} is no model; expected models:/NAME@champion or models:/NAME/3, or a bundle folder"
        )
    registry = Registry(uri)
    if parts["version"]:
        return registry.bundle_path(registry.numbered(parts["name"], int(parts["version"])))
    version = registry.version(parts["name"], parts["alias"])
    if version is None:
        raise InputError(
            f"{parts['name']!r} has no {parts['alias']} in {registry.uri}; publish and promote a model first, "
            "or name another registry with --registry"
        )
    return registry.bundle_path(version)


def _require_openable(database: Path) -> None:
    """Raise sqlite3.Error at once; MLflow would try for minutes."""
    with closing(sqlite3.connect(database)) as opened:
        opened.execute("PRAGMA schema_version")


@cache
def _copies() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="recsys-")


def check_name(name: str) -> None:
    """Raise InputError unless ``models:/NAME@alias`` is unambiguous for this name."""
    if not MODEL_NAME.fullmatch(name):
        raise InputError(f"registry.name is {name!r}; expected a name without / : @, quotes and line breaks")


def _version(entity: "ModelVersion") -> Version:
    tags, created = dict(entity.tags), entity.creation_timestamp / 1000
    return Version(entity.name, int(entity.version), entity.run_id or "", tags.get(BUNDLE_TAG, ""), tags, created)
