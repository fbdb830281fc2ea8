"""The model registry: register, resolve, move aliases. The only importer of mlflow, which takes seconds: lazily.

A registered version is a pyfunc whose data is a bundle and whose loader is ``recsys.retriever``; no pickled code.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow import MlflowClient

CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"
MLFLOW_SETTINGS = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",  # the defaults block for minutes where a server is down
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
}
BUNDLE_TAG = "recsys.bundle_id"
MODEL_URI = re.compile(r"models:/(?P<name>[^@/]+)(?:@(?P<alias>[^@/]+)|/(?P<version>\d+))")


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
        self.uri = uri or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{Path.cwd() / 'mlflow.db'}"

    @property
    def client(self) -> "MlflowClient":
        """A client of this store."""
        import mlflow

        mlflow.set_tracking_uri(self.uri)
        return mlflow.MlflowClient(self.uri, self.uri)

    def version(self, name: str, alias: str) -> Version | None:
        """The version an alias points to, or None."""
        with _clear_errors(self.uri):
            found = self._registered(name)
            number = found.aliases.get(alias) if found else None
            return self.numbered(name, int(number)) if number else None

    def numbered(self, name: str, number: int) -> Version:
        """Raises ValueError where there is no such version."""
        from mlflow.exceptions import RestException

        with _clear_errors(self.uri):
            try:
                found = self.client.get_model_version(name, str(number))
            except RestException as error:
                raise ValueError(f"model {name!r} has no version {number}; see `mlflow ui`") from error
            return _version(found)

    def versions(self, name: str) -> list[Version]:
        """All versions, oldest first."""
        with _clear_errors(self.uri):
            found = self.client.search_model_versions(f"name = '{name}'")
            return sorted((_version(each) for each in found), key=lambda version: version.number)

    def publish(self, name: str, bundle: Path, bundle_id: str, record: "RunRecord") -> Version:
        """Register a bundle once: a second call with the same bundle id finds the version of the first.

        The version is created last, when everything it needs is stored; a killed publication leaves none behind.
        """
        with _clear_errors(self.uri):
            known = [version for version in self.versions(name) if version.bundle_id == bundle_id]
            if known:
                return known[0]
            client = self.client
            run_id = self._run(client, name, bundle_id, record)
            source = self._log_bundle(run_id, bundle)
            if self._registered(name) is None:
                _create(client.create_registered_model, name)
            created = client.create_model_version(
                name, source, run_id, tags={BUNDLE_TAG: bundle_id} | record.tags, description=record.description
            )
            client.set_terminated(run_id)
            return _version(created)

    def move(self, name: str, alias: str, version: Version | None) -> None:
        """Point an alias at a version, or remove it."""
        with _clear_errors(self.uri):
            if version is None:
                self.client.delete_registered_model_alias(name, alias)
            else:
                self.client.set_registered_model_alias(name, alias, str(version.number))

    def tag(self, version: Version, key: str, value: str) -> None:
        """Set a tag on a version."""
        with _clear_errors(self.uri):
            self.client.set_model_version_tag(version.name, str(version.number), key, value)

    def log_file(self, version: Version, path: Path, folder: str) -> None:
        """Store a file beside the version's other records."""
        with _clear_errors(self.uri):
            self.client.log_artifact(version.run_id, str(path), folder)

    def record_file(self, version: Version, name: str) -> Path:
        """A local copy of one of the files under records/ that were published with the version."""
        import mlflow

        with _clear_errors(self.uri):
            uri = f"runs:/{version.run_id}/records/{name}"
            return Path(mlflow.artifacts.download_artifacts(uri, tracking_uri=self.uri))

    def bundle_path(self, version: Version) -> Path:
        """A local copy of the version's bundle."""
        import mlflow

        with _clear_errors(self.uri):
            model = mlflow.artifacts.download_artifacts(f"runs:/{version.run_id}/model", tracking_uri=self.uri)
            return Path(model) / "data" / "bundle"

    def _registered(self, name: str) -> Any:
        found = self.client.search_registered_models(f"name = '{name}'")
        return found[0] if found else None

    def _run(self, client: "MlflowClient", name: str, bundle_id: str, record: "RunRecord") -> str:
        """The run of this bundle, with everything but the model logged."""
        experiment = client.get_experiment_by_name(name)
        if experiment is None:
            root = None if self.uri.startswith("http") else (Path.cwd() / "mlartifacts" / name).as_uri()
            _create(client.create_experiment, name, root)
            experiment = client.get_experiment_by_name(name)
        assert experiment is not None
        experiment_id = experiment.experiment_id
        runs = client.search_runs([experiment_id], f"tags.`{BUNDLE_TAG}` = '{bundle_id}'")
        run_id = runs[0].info.run_id if runs else client.create_run(
            experiment_id, tags={BUNDLE_TAG: bundle_id}, run_name=f"{name}-{bundle_id[:8]}"
        ).info.run_id  # fmt: skip
        for key, value in record.parameters.items():
            client.log_param(run_id, key, value)
        for key, value in record.metrics.items():
            client.log_metric(run_id, key, value)
        for step, row in enumerate(record.curves, start=1):
            for key, value in row.items():
                client.log_metric(run_id, f"epoch/{key}", value, step=step)
        for path, folder in record.files:
            client.log_artifact(run_id, str(path), folder)
        return str(run_id)

    def _log_bundle(self, run_id: str, bundle: Path) -> str:
        """Store the bundle as a pyfunc under the run's ``model`` folder; returns its URI."""
        import tempfile

        import mlflow

        with tempfile.TemporaryDirectory() as folder:
            mlflow.pyfunc.save_model(
                str(Path(folder) / "model"),
                loader_module="recsys.retriever",
                data_path=str(bundle),
                code_paths=[str(Path(__file__).parent)],
                pip_requirements=requirements(),
                signature=_signature(),
            )
            self.client.log_artifacts(run_id, str(Path(folder) / "model"), "model")
        return f"runs:/{run_id}/model"


@dataclass(frozen=True)
class RunRecord:
    """What an MLflow run stores of a training. curves: a row of figures per epoch. files: (path, folder)."""

    parameters: dict[str, Any]
    metrics: dict[str, float]
    curves: list[dict[str, float]]
    files: list[tuple[Path, str]]
    tags: dict[str, str]
    description: str


def resolve(source: str, uri: str | None = None) -> Path:
    """A local bundle folder from a path or from ``models:/NAME@alias`` or ``models:/NAME/VERSION``."""
    if not source.startswith("models:"):
        return Path(source)
    parts = MODEL_URI.fullmatch(source)
    if parts is None:
        raise ValueError(
            f"{source!r} is no model; expected models:/NAME@champion or models:/NAME/3, or a bundle folder"
        )
    registry = Registry(uri)
    if parts["version"]:
        return registry.bundle_path(registry.numbered(parts["name"], int(parts["version"])))
    version = registry.version(parts["name"], parts["alias"])
    if version is None:
        raise ValueError(
            f"{parts['name']!r} has no {parts['alias']} in {registry.uri}; publish and promote a model first, "
            "or name another registry with --registry"
        )
    return registry.bundle_path(version)


def requirements() -> list[str]:
    """What serving a bundle needs, pinned to what is installed here."""
    from importlib.metadata import version

    names = ["polars", "pyarrow", "numpy", "scipy", "pydantic", "safetensors", "mlflow", "tensordict", "torchmetrics"]
    return [f"{name}=={version(name).split('+')[0]}" for name in [*names, "torch", "torchrec"]]


def _signature() -> Any:
    """Records with a history (list of ids, as text or integers) and k in; ids, scores and the reason out."""
    from mlflow.models import ModelSignature
    from mlflow.types.schema import AnyType, Array, ColSpec, DataType, Schema

    anything = AnyType()  # type: ignore[no-untyped-call]  # mlflow ships it untyped; ids are integers or text
    inputs = Schema([ColSpec(anything, "history"), ColSpec(DataType.long, "k", required=False)])
    outputs = Schema([
        ColSpec(anything, "item_ids"), ColSpec(Array(DataType.double), "scores"),
        ColSpec(DataType.string, "reason", required=False), ColSpec(DataType.string, "bundle_id"),
    ])  # fmt: skip
    return ModelSignature(inputs, outputs)


def _version(found: Any) -> Version:
    return Version(found.name, int(found.version), found.run_id, found.tags.get(BUNDLE_TAG, ""), dict(found.tags))


def _create(function: Any, *arguments: Any) -> Any:
    """Create something that another publisher may just have created."""
    from mlflow.exceptions import MlflowException

    try:
        return function(*arguments)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        return None


@contextmanager
def _clear_errors(uri: str) -> Iterator[None]:
    """An unreachable or broken registry is one clear line."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        reason = str(error).splitlines()[0][:300]
        raise ValueError(f"registry {uri}: {reason}; check --registry or MLFLOW_TRACKING_URI") from error
