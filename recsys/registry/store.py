"""The model registry: register, resolve, move aliases. mlflow takes seconds to import: lazily."""

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
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from .lock import locked
from .mlflow_errors import ABSENT, THERE_ALREADY, clear_errors, unless
from .runs import BUNDLE_TAG, RunRecord, log_bundle, log_run
from .version_history import VersionChange

if TYPE_CHECKING:
    from mlflow import MlflowClient

CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"
MLFLOW_SETTINGS = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",  # the defaults block for minutes where a server is down
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
    """One registered version. run_id: the MLflow run that holds its records."""

    name: str
    number: int
    run_id: str
    bundle_id: str
    tags: dict[str, str]


class Registry:
    """One MLflow tracking store and model registry."""

    def __init__(self, uri: str | None = None) -> None:
        """uri: of a server or a database; else MLFLOW_TRACKING_URI, else mlflow.db in the working directory."""
        for name, value in MLFLOW_SETTINGS.items():
            os.environ.setdefault(name, value)
        logging.getLogger("alembic").setLevel(logging.WARNING)  # a line for each of 40 migrations of a new database
        self.uri = uri or os.environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE}mlflow.db"
        self._database: Path | None = None
        if self.uri.startswith(SQLITE):
            self._database = Path(self.uri.removeprefix(SQLITE)).absolute()
            self.uri = f"{SQLITE}{self._database}"

    @property
    def client(self) -> "MlflowClient":
        """A client of this store; makes its database."""
        import mlflow

        if not self._exists:
            self._make_database()
        elif self._database is not None:
            _require_openable(self._database)
        logging.getLogger("mlflow").setLevel(logging.WARNING)  # which a migration undoes
        mlflow.set_tracking_uri(self.uri)
        return mlflow.MlflowClient(self.uri, self.uri)

    def version(self, name: str, alias: str) -> Version | None:
        """The version an alias points to, or None."""
        number = self._aliases(name).get(alias)
        return self.numbered(name, number) if number is not None else None

    def numbered(self, name: str, number: int) -> Version:
        """Raises InputError where there is no such version."""
        with clear_errors(self.uri):
            found = unless(ABSENT, self.client.get_model_version, name, str(number)) if self._exists else None
        if found is None:
            raise InputError(f"{name!r} has no version {number} in {self.uri}; see `mlflow ui`, or give --registry")
        return _version(found)

    def versions(self, name: str) -> list[Version]:
        """All versions, oldest first."""
        with clear_errors(self.uri):
            found = self.client.search_model_versions(f"name = '{name}'")
            return sorted((_version(each) for each in found), key=lambda version: version.number)

    def publish(self, name: str, bundle: Path, bundle_id: str, record: RunRecord) -> Version:
        """Register a bundle once: a second call with the same bundle id finds the version of the first.

        The version is created last, when everything it needs is stored; a killed publication leaves none behind.
        """
        from mlflow.exceptions import MlflowException

        check_name(name)
        with clear_errors(self.uri):
            client = self.client
            if (version := self._published(client, name, bundle_id)) is not None:
                return version
            try:
                run_id = log_run(client, name, bundle_id, record, self._artifact_root(name))
                source = log_bundle(client, run_id, bundle)
            except MlflowException:
                if (version := self._published(client, name, bundle_id)) is None:
                    raise
                return version  # of another, who came first and deleted our run
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
        """The version of a bundle, its run ended; what killed, repeated or slower publications made is deleted."""
        found = [version for version in self.versions(name) if version.bundle_id == bundle_id]
        if not found:
            return None
        client.set_terminated(found[0].run_id)
        for double in found[1:]:  # MLflow creates again where the answer is lost
            unless(ABSENT, client.delete_model_version, name, str(double.number))
        experiment_id = client.get_run(found[0].run_id).info.experiment_id
        for run in client.search_runs([experiment_id], f"tags.`{BUNDLE_TAG}` = '{bundle_id}'"):
            if run.info.run_id != found[0].run_id:
                client.delete_run(run.info.run_id)
        return found[0]

    @contextmanager
    def locked(self, name: str) -> Iterator[Callable[[], None]]:
        """Hold the lock of ``name`` (lock.py); gives a function that raises InputError once it is lost."""
        with clear_errors(self.uri), locked(self.client, name) as held:
            yield held

    def move(self, name: str, alias: str, version: Version | None) -> None:
        """Point an alias at a version, or remove it; raises InputError where it then stands elsewhere."""
        wanted = None if version is None else version.number
        with clear_errors(self.uri):
            if wanted is None:
                self.client.delete_registered_model_alias(name, alias)
            else:
                self.client.set_registered_model_alias(name, alias, str(wanted))
        found = self._aliases(name).get(alias)
        if found != wanted:
            raise InputError(f"{name}@{alias} was set to version {wanted} and is at {found}: another process moved it "
                             "without the lock; look at `recsys history`, then run this again")  # fmt: skip

    def log_change(self, name: str, change: VersionChange) -> None:
        """Add a change to the version history: a tag of its own, whose name sorts by time."""
        with clear_errors(self.uri):
            self.client.set_registered_model_tag(name, f"{EVENT_TAG}{time.time_ns():020d}", change.model_dump_json())

    def changes(self, name: str) -> list[VersionChange]:
        """The version history, oldest change first."""
        with clear_errors(self.uri):
            found = unless(ABSENT, self.client.get_registered_model, name) if self._exists else None
            tags = {} if found is None else found.tags
            return [VersionChange.model_validate_json(tags[key]) for key in sorted(tags) if key.startswith(EVENT_TAG)]

    def tag(self, version: Version, key: str, value: str) -> None:
        """Set a tag on a version."""
        with clear_errors(self.uri):
            self.client.set_model_version_tag(version.name, str(version.number), key, value)

    def log_file(self, version: Version, path: Path, folder: str) -> None:
        """Store a file beside the version's other records."""
        with clear_errors(self.uri):
            self.client.log_artifact(version.run_id, str(path), folder)

    def records(self, version: Version) -> Path:
        """The records that were published with the version."""
        return self._artifacts(version, "records")

    def bundle_path(self, version: Version) -> Path:
        """The version's bundle."""
        return next((self._artifacts(version, "model") / "data").iterdir())

    def _artifacts(self, version: Version, name: str) -> Path:
        """A folder of the version's run: where it lies, or a copy of a server's, which goes with this process."""
        from mlflow.artifacts import download_artifacts

        with clear_errors(self.uri):
            uri = f"{self.client.get_run(version.run_id).info.artifact_uri}/{name}"
            if uri.startswith("file:"):
                return Path(download_artifacts(artifact_uri=uri))  # copies nothing
            copy = tempfile.mkdtemp(dir=_copies().name)
            return Path(download_artifacts(artifact_uri=uri, dst_path=copy, tracking_uri=self.uri))

    @property
    def _exists(self) -> bool:
        """False where merely looking would create the database."""
        return self._database is None or self._database.exists()

    def _make_database(self) -> None:
        """Whole or not at all: MLflow takes seconds; killed meanwhile, or two at once, it leaves one beyond repair."""
        import mlflow

        assert self._database is not None
        temporary = self._database.with_name(f".{self._database.name}.{uuid.uuid4().hex}.partial")
        try:
            _require_openable(temporary)
            mlflow.MlflowClient(f"{SQLITE}{temporary}").search_experiments()
            with suppress(FileExistsError):  # another was faster
                self._database.hardlink_to(temporary)
        finally:
            temporary.unlink(missing_ok=True)

    def _aliases(self, name: str) -> dict[str, int]:
        with clear_errors(self.uri):
            found = unless(ABSENT, self.client.get_registered_model, name) if self._exists else None
            return {alias: int(number) for alias, number in found.aliases.items()} if found is not None else {}

    def _artifact_root(self, name: str) -> str | None:
        """Beside the database; a server knows its own."""
        if self.uri.startswith("http"):
            return None
        folder = self._database.parent if self._database is not None else Path.cwd()
        return (folder / "mlartifacts" / name).as_uri()


def resolve(source: str, uri: str | None = None) -> Path:
    """A local bundle folder from a path or from ``models:/NAME@alias`` or ``models:/NAME/VERSION``."""
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
    """Raise sqlite3.Error at once, where MLflow would try for minutes."""
    with closing(sqlite3.connect(database)) as opened:
        opened.execute("PRAGMA schema_version")


@cache
def _copies() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="recsys-")


def check_name(name: str) -> None:
    """Raise InputError where ``name`` can't be a model's: ``models:/NAME@alias`` must be unambiguous."""
    if not MODEL_NAME.fullmatch(name):
        raise InputError(f"registry.name is {name!r}; expected a name without / : @, quotes and line breaks")


def _version(found: Any) -> Version:
    return Version(found.name, int(found.version), found.run_id, found.tags.get(BUNDLE_TAG, ""), dict(found.tags))
