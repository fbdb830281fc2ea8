"""Registering a bundle, once: whatever was killed, repeated or done twice at the same time, one version is left."""

from pathlib import Path
from typing import TYPE_CHECKING

from .lock import locked
from .mlflow_errors import ABSENT, THERE_ALREADY, unless
from .runs import RunRecord, accepted, finish_run, log_bundle, log_run
from .versions import BUNDLE_TAG, Version

if TYPE_CHECKING:
    from mlflow import MlflowClient


def versions_of(client: "MlflowClient", name: str) -> list[Version]:
    """All versions of a model, oldest first."""
    entities = client.search_model_versions(f"name = '{name}'")
    return sorted((Version.of(entity) for entity in entities), key=lambda version: version.number)


def register(
    client: "MlflowClient", name: str, bundle: Path, bundle_id: str, record: RunRecord, artifact_root: str | None
) -> Version:
    """Register a bundle once: a second call with the same bundle id returns the version of the first.

    The version is created last, when everything it needs is stored, so a killed publication leaves no version.
    """
    from mlflow.exceptions import MlflowException

    if (version := _published(client, name, bundle_id)) is not None:
        return version
    record = accepted(record)
    try:
        run_id = log_run(client, name, bundle_id, record, artifact_root)
        source = log_bundle(client, run_id, bundle, bundle_id)
    except MlflowException:
        if (version := _published(client, name, bundle_id)) is None:
            raise
        return version  # another process published it first, and deleted our run
    unless(THERE_ALREADY, client.create_registered_model, name)
    with locked(client, name):
        if (version := _published(client, name, bundle_id)) is None:
            client.create_model_version(
                name, source, run_id, tags={BUNDLE_TAG: bundle_id} | record.tags, description=record.description
            )
            version = _published(client, name, bundle_id)
    assert version is not None
    return version


def _published(client: "MlflowClient", name: str, bundle_id: str) -> Version | None:
    """The first version of a bundle, or None.

    Its run is marked as finished. What killed, repeated or slower publications of the bundle created is deleted.
    """
    versions = [version for version in versions_of(client, name) if version.bundle_id == bundle_id]
    if not versions:
        return None
    first, *duplicates = versions
    finish_run(client, first.run_id)
    for duplicate in duplicates:  # MLflow's client repeats a call whose answer was lost
        unless(ABSENT, client.delete_model_version, name, str(duplicate.number))
    experiment_id = client.get_run(first.run_id).info.experiment_id
    for run in client.search_runs([experiment_id], f"tags.`{BUNDLE_TAG}` = '{bundle_id}'"):
        if run.info.run_id != first.run_id:
            client.delete_run(run.info.run_id)
    return first
