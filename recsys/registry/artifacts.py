"""The files of a version: read where they lie if that is on this machine, else copied; and written to its run."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from ..errors import InputError, RegistryError
from .deadline import BoundedClient, bounded, transferred
from .location import Location
from .mlflow_errors import ABSENT, unless
from .versions import Version

if TYPE_CHECKING:
    from mlflow import MlflowClient


def local_path(uri: str) -> Path | None:
    """The folder that an artifact URI means on this machine; None if it is elsewhere."""
    parts = urlsplit(uri)
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    return Path(uri) if not parts.scheme else None


def folder_of(client: "MlflowClient", location: Location, version: Version, name: str) -> Path:
    """A folder of the version's run: the original if it is local, else a copy that is deleted with this process.

    Raises:
        InputError: The version has no run, its run is gone, or the folder is.
    """
    version.require_run()
    run = unless(ABSENT, client.get_run, version.run_id)
    if run is None:
        raise InputError(f"the run {version.run_id} of {version} was deleted for good; publish it again")
    uri = f"{run.info.artifact_uri}/{name}"
    folder = local_path(uri)
    if folder is None:
        copy = Path(tempfile.mkdtemp(dir=_copies().name))
        _download(location, uri, copy)
        folder = copy
    if not folder.is_dir() or not any(folder.iterdir()):
        raise InputError(
            f"the files of {version} are not at {folder if folder.is_absolute() else uri}; {_remedy(folder)}"
        )
    return folder


def bundle_in(folder: Path, version: Version) -> Path:
    """The bundle in a version's ``model`` folder."""
    data = folder / "data"
    present = [path for path in sorted(data.iterdir()) if not path.name.startswith(".")] if data.is_dir() else []
    if len(present) != 1:
        names = ", ".join(path.name for path in present) or "nothing"
        raise InputError(
            f"{data}, where {version} has its bundle, holds {names}; expected one bundle: restore it, or publish again"
        )
    return present[0]


def upload(client: "MlflowClient", run_id: str, path: Path, folder: str) -> None:
    """Store a file, or all that a folder holds, in a folder of a run."""
    if not isinstance(client, BoundedClient):
        log = client.log_artifacts if path.is_dir() else client.log_artifact
        log(run_id, str(path), folder)
        return
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            relative = file.parent.relative_to(path) if path.is_dir() else Path()
            inside = str(Path(folder) / relative)
            transferred(client.unbounded.log_artifact, run_id, str(file), "" if inside == "." else inside)


@contextmanager
def writing(location: Location) -> Iterator[None]:
    """Turn what a full disk or a closed folder raises into one RegistryError."""
    try:
        yield
    except OSError as error:
        if error.errno is None:  # of a connection
            raise
        raise RegistryError(
            f"registry {location.shown}: {error.filename or 'a file'} cannot be written ({error.strerror}); make room "
            "or change its permissions"
        ) from error


def require_place(location: Location, experiment: Any, artifact_root: str | None) -> None:
    """Check that a run of an experiment can store files, as far as that can be seen from here.

    experiment: None for one that is still to be made, at ``artifact_root``.

    Raises:
        RegistryError: It was deleted, or its folder is gone or cannot be written.
    """
    if experiment is not None and experiment.lifecycle_stage != "active":
        raise RegistryError(
            f"registry {location.shown}: the experiment {experiment.name!r} was deleted; run `mlflow experiments "
            f"restore --experiment-id {experiment.experiment_id}` with MLFLOW_TRACKING_URI set to it, or choose "
            "another registry.name"
        )
    uri = artifact_root if experiment is None else experiment.artifact_location
    folder = local_path(uri) if uri else None
    if folder is None:
        return
    if experiment is not None and uri != artifact_root and not folder.is_dir():
        raise RegistryError(
            f"registry {location.shown}: the files of {experiment.name!r} are not at {folder}; {_remedy(folder)}"
        )
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        raise RegistryError(
            f"registry {location.shown}: {existing}, where the files of its models belong, cannot be written "
            f"({error.strerror}); make room or change its permissions, or give another --registry"
        ) from error


def _download(location: Location, uri: str, copy: Path) -> None:
    """Copy what an artifact URI holds, file by file."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    repository: Any = bounded(get_artifact_repository, uri, tracking_uri=location.address)
    waiting: list[str | None] = [None]
    while waiting:
        for entry in bounded(repository.list_artifacts, waiting.pop()):
            if entry.is_dir:
                waiting.append(entry.path)
            else:
                target = copy / entry.path
                if not target.resolve().is_relative_to(copy.resolve()):
                    raise RegistryError(
                        f"registry {location.shown}: {entry.path!r} is no path inside a version's files"
                    )
                target.parent.mkdir(parents=True, exist_ok=True)
                transferred(repository._download_file, entry.path, str(target))


def _remedy(folder: Path) -> str:
    """What to do about files that are not where the registry says."""
    gone = next((parent for parent in reversed((folder, *folder.parents)) if not parent.exists()), folder)
    return (
        f"if the project was moved, move it back or make a link (ln -s NEW/{gone.name} {gone}); if they were deleted, "
        "restore them or publish again"
    )


@cache
def _copies() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="recsys-")
