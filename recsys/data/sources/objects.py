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
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any, cast

from ... import files
from ...buckets import Object, download, find, head, objects_below, split_address, store_error
from ...errors import InputError
from ...paths import address_of, bucket_address, matches_pattern
from .forms import EXPECTED, TEXT, File, Files, form_by_ending, is_hidden, is_table
from .source import Identity

_WILDCARD = re.compile(r"[*?[]")
_PART = re.compile(r"(^|/)parts/[0-9a-f]{64}-[^/]+$")


def is_object(location: str, role: str = "input") -> bool:
    """Whether a location is in an object store."""
    return bucket_address(location) is not None


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
    address = cast(str, address_of(location))
    bucket, key = split_address(address)
    parts = [part for part in key.split("/") if part]
    fixed = next((number for number, part in enumerate(parts) if _WILDCARD.search(part)), len(parts))
    with store_error("read", f"{role} at {location}", address):
        if parts and not key.endswith("/") and (exact := head(address)) is not None:
            return [exact]
        listed = objects_below("/".join([bucket, *parts[:fixed]]))
        chosen = [one for one in listed if _is_chosen(split_address(one.url)[1].split("/"), parts)]
        chosen = sorted(chosen, key=lambda one: one.url) or _in_finished_folder(bucket, parts, fixed)
    if not chosen:
        raise InputError(
            f"{role}: no table at {location}; expected an object, a pattern or a folder of {EXPECTED} files"
        )
    return chosen


def _in_finished_folder(bucket: str, pattern: list[str], fixed: int) -> list[Object]:
    """The objects of the files that a pattern matches in a folder that recsys has written, by the files' names."""
    finished = find("/".join([bucket, *pattern[:fixed]]))
    if finished is None:
        return []
    folder, manifest, _ = finished
    around = [part for part in split_address(folder.address)[1].split("/") if part]
    return [
        Object(folder.part(name, seal), seal.bytes, seal.sha256, "")
        for name, seal in manifest.files.items()
        if _is_chosen([*around, *name.split("/")], pattern)
    ]


def is_read(location: str, url: str) -> bool:
    """Whether an object that is written at ``url`` will be read at a location; it need not be one of objects."""
    bucket, key = split_address(cast(str, address_of(location)))
    written_to, written = split_address(url)
    return bucket == written_to and _is_chosen(written.split("/"), [part for part in key.split("/") if part])


def holds(location: str, folder: str, role: str) -> bool:
    """Whether there is an object in a folder of that name below an address. Raises InputError if none can be listed."""
    address = cast(str, address_of(location))
    with store_error("read", f"{role} at {location}", address):
        return bool(objects_below("/".join([address.rstrip("/"), folder])))


def _is_chosen(key: list[str], pattern: list[str]) -> bool:
    """Whether a pattern matches an object, or a folder around it in which it is a visible table.

    A part of a folder that recsys writes is none: what such a folder holds, its manifest says, once there is one.
    """
    if _PART.search("/".join(key)):
        return False
    wanted = {part[0] for part in pattern if is_hidden(part)}
    if any(is_hidden(part) and part[0] not in wanted for part in key):
        return False
    if matches_pattern(key, pattern):
        return True
    around = [number for number in range(len(key)) if matches_pattern(key[:number], pattern)]
    return is_table(key[-1]) and any(not any(map(is_hidden, key[number:])) for number in around)


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
    with store_error("read", f"{role} at {one.url}", one.url):
        if download(one.url, one.size, path, one.e_tag) is None:
            raise InputError(f"{role} at {one.url} changed while it was read; expected files at rest: run again")
    return path
