"""Objects in a bucket: s3://, gs:// and az:// addresses, patterns of them, and folders, also hive-partitioned ones.

Polars reads Parquet and Feather where they are. Text, which is looked through as a whole first, is copied here. Both
take credentials, region and endpoint from the environment.

A store replaces an object whole and gives it another ETag, but a reader that comes back for a second range may get the
new one. So the ETags are listed before and after reading. Where an object came back meanwhile with the same content,
the time of the last writing tells.
"""

import hashlib
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Any, cast

from ... import files
from ...errors import InputError
from ...paths import OBJECT_STORES, address_of, matches_pattern
from .forms import EXPECTED, TEXT, File, Files, form_by_ending, is_hidden, is_table
from .source import Identity, library

CREDENTIALS = {
    "s3": "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION and, for a server of your own, AWS_ENDPOINT_URL",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
}
RETRIES = {"max_retries": 3, "retry_timeout": timedelta(seconds=30)}
_WILDCARD = re.compile(r"[*?[]")
_SAID_BY_SERVER = re.compile(r"<Code>(.*?)</Code>\s*<Message>(.*?)</Message>", re.DOTALL)


@dataclass(frozen=True)
class Object:
    """An object as its store lists it. e_tag: changes with its content. modified: when it was written last."""

    url: str
    size: int
    e_tag: str
    modified: str


def is_object(location: str, role: str = "input") -> bool:
    """Whether a location is in an object store."""
    return (address_of(location) or "").partition(":")[0] in OBJECT_STORES


def open_objects(location: str, role: str) -> Files:
    """The objects behind ``location``, text as copies on this machine. Raises InputError if there is none."""
    listed = list_objects(location, role)
    forms = {one.url: form_by_ending(one.url, role) for one in listed}
    opened: dict[File, Any] = {}
    for one in listed:
        file: File = _copy(one, role) if forms[one.url].kind in TEXT else one.url
        opened[file] = forms[one.url]
    return Files(opened, is_hive=[one.url for one in listed] != [address_of(location)])


def objects_digest(location: str, role: str) -> str:
    """The fingerprint of sizes, ETags and the values that hive folders carry in their names."""
    return files.digest(*(
        [one.size, one.e_tag, [part for part in one.url.split("/") if "=" in part]]
        for one in list_objects(location, role)
    ))  # fmt: skip


def object_identities(location: str, role: str) -> list[Identity]:
    """What tells that the objects were not written again since."""
    return [(one.url, one.size, one.e_tag, one.modified) for one in list_objects(location, role)]


def list_objects(location: str, role: str) -> list[Object]:
    """The objects behind an address, in the order in which they are read.

    An object of that very name is meant before a pattern or a folder is. As in a folder on disk, names that start with
    "." or "_" are skipped.

    Raises:
        InputError: There is none, or the store refuses to list them.
    """
    bucket, key = _split(location)
    parts = [part for part in key.split("/") if part]
    fixed = next((number for number, part in enumerate(parts) if _WILDCARD.search(part)), len(parts))
    with _input_error(location, role):
        if parts and not key.endswith("/") and (exact := _head(bucket, key)) is not None:
            return [exact]
        listed = _list(bucket, "/".join(parts[:fixed]))
    chosen = [one for one in listed if _is_chosen(_split(one.url)[1].split("/"), parts)]
    if not chosen:
        raise InputError(
            f"{role}: no table at {location}; expected an object, a pattern or a folder of {EXPECTED} files"
        )
    return sorted(chosen, key=lambda one: one.url)


def holds(location: str, folder: str, role: str) -> bool:
    """Whether there is an object in a folder of that name below an address. Raises InputError if none can be listed."""
    bucket, key = _split(location)
    with _input_error(location, role):
        return bool(_list(bucket, "/".join(part for part in (*key.split("/"), folder) if part)))


def _split(location: str) -> tuple[str, str]:
    """The address of the bucket, and the key."""
    scheme, _, rest = cast(str, address_of(location)).partition("://")
    bucket, _, key = rest.partition("/")
    return f"{scheme}://{bucket}", key


def _is_chosen(key: list[str], pattern: list[str]) -> bool:
    """Whether a pattern matches an object, or a folder around it in which it is a visible table."""
    wanted = {part[0] for part in pattern if is_hidden(part)}
    if any(is_hidden(part) and part[0] not in wanted for part in key):
        return False
    if matches_pattern(key, pattern):
        return True
    around = [number for number in range(len(key)) if matches_pattern(key[:number], pattern)]
    return is_table(key[-1]) and any(not any(map(is_hidden, key[number:])) for number in around)


def _obstore() -> ModuleType:
    return library("obstore", "cloud", "a bucket")


@cache
def _store(bucket: str) -> Any:
    stores = library("obstore.store", "cloud", "a bucket")
    return stores.from_url(bucket, retry_config=RETRIES)


def _head(bucket: str, key: str) -> Object | None:
    try:
        return _object(bucket, _obstore().head(_store(bucket), key))
    except (FileNotFoundError, _obstore().exceptions.PermissionDeniedError):
        return None  # refused where nothing may be listed, too; the answer to a listing says why


def _list(bucket: str, prefix: str) -> list[Object]:
    return [_object(bucket, meta) for meta in _obstore().list(_store(bucket), prefix or None).collect()]


def _object(bucket: str, meta: dict[str, Any]) -> Object:
    modified: datetime = meta["last_modified"]
    return Object(f"{bucket}/{meta['path']}", meta["size"], meta["e_tag"] or meta["version"], modified.isoformat())


@contextmanager
def _input_error(location: str, role: str) -> Iterator[None]:
    """Turn what a store answers into an InputError of one line."""
    try:
        yield
    except (_obstore().exceptions.BaseError, OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        said = _SAID_BY_SERVER.search(str(error))
        reason = f"{said[1]}: {said[2]}" if said else next(iter(str(error).splitlines()), type(error).__name__)
        raise InputError(
            f"cannot read {role} at {location}: {reason}; expected a bucket that this machine may read: check the "
            f"address, and {CREDENTIALS[location.partition(':')[0]]}"
        ) from error


@cache
def _copies() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="recsys-")


def _copy(one: Object, role: str) -> Path:
    """An object's copy on this machine, until the process ends or the object is another."""
    folder = Path(_copies().name) / hashlib.sha256(one.url.encode()).hexdigest()[:16]
    path = folder / hashlib.sha256(one.e_tag.encode()).hexdigest()[:16] / PurePosixPath(one.url).name
    if path.exists():
        return path
    files.discard(folder)
    path.parent.mkdir(parents=True)
    bucket, key = _split(one.url)
    with _input_error(one.url, role), files.replacing(path) as temporary, temporary.open("wb") as file:
        try:
            for chunk in _obstore().get(_store(bucket), key, options={"if_match": one.e_tag}).stream():
                file.write(chunk)
        except _obstore().exceptions.PreconditionError as error:
            raise InputError(
                f"{role} at {one.url} changed while it was read; expected files at rest: run again"
            ) from error
    return path
