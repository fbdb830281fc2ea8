"""Paths as people write them: ``~``, ``file://`` and relative ones become local paths; and the addresses of tables."""

import os
import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from urllib.parse import unquote, urlsplit

from .errors import InputError

# "s3://" becomes "s3:/" where a path is made of it, so one slash is enough for the known ones
_CLOUD = re.compile(r"(s3[an]?|gc?s|az|abfss?|adl|wasbs?|hdfs|webhdfs|dbfs|oss|hf|https?|s?ftp):/", re.IGNORECASE)
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
OBJECT_STORES = ("s3", "gs", "az")
TABLES = (*OBJECT_STORES, "iceberg", "duckdb")  # what may stand before ":" where a table is named
_TABLE = re.compile(rf"({'|'.join(TABLES)}):/(?P<second>/?)")
_RELATIVE_DATABASE = re.compile(r"(duckdb:///)(?!/)(?P<path>[^?]*)")


def address_of(location: str | os.PathLike[str]) -> str | None:
    """The address of a table elsewhere, such as s3://bucket/log; None if ``location`` is no such address.

    Where a path was made of it, which has one slash instead of two, it gets the second one again.
    """
    text = os.fspath(location)
    matched = _TABLE.match(text)
    if matched is None:
        return None
    return text if matched["second"] else f"{text[: matched.end()]}/{text[matched.end() :]}"


def bucket_address(location: str | os.PathLike[str]) -> str | None:
    """The address of something in an object store, as in ``address_of``; None if ``location`` is none."""
    address = address_of(location)
    return address if address is not None and address.partition(":")[0] in OBJECT_STORES else None


def absolute_location(location: str, folder: Path) -> str:
    """Where a table is, whatever the working directory will be.

    Args:
        location: A path or pattern, as in ``local_path``, or the address of a table.
        folder: What a relative path is relative to. So is the path of a database after three slashes, as in
            duckdb:///shop.db; after four, it is absolute.

    Raises:
        InputError: An address of another kind.
    """
    address = address_of(location)
    if address is None:
        return str(local_path(location, folder))
    database = _RELATIVE_DATABASE.match(address)
    if database is None:
        return address
    return f"{database[1]}{local_path(database['path'], folder)}{address[database.end() :]}"


def local_path(location: str | Path, folder: Path | None = None) -> Path:
    """The local path that ``location`` means.

    Args:
        location: A path, a pattern of paths, or a ``file://`` address. A leading ``~`` is the home folder, unless there
            is something of that very name.
        folder: What a relative path is relative to; None for the working directory, which is then not added.

    Raises:
        InputError: An address of another machine or of a cloud store, or no path at all.
    """
    text = str(location)
    if "\0" in text:
        raise InputError(f"{text!r} is no path; expected one without NUL characters")
    if re.match(r"file:/", text, re.IGNORECASE):
        address = urlsplit(text, allow_fragments=False)
        if address.netloc not in ("", "localhost"):
            raise InputError(f"{text} is on {address.netloc}; expected a local path: write file:///PATH")
        # a "?" is part of the path, too: a file has no query
        return Path(unquote(address.path + (f"?{address.query}" if address.query else "")))
    if _CLOUD.match(text) or _ADDRESS.match(text):
        text = re.sub(r"^([^:/]+):/(?!/)", r"\1://", text)
        if bucket_address(text) is not None:
            raise InputError(
                f"{text} is no local path; expected one: tables, datasets, bundles and scores can be in a bucket, the "
                "rest is on this machine"
            )
        raise InputError(
            f"{text} is no local path; expected one, or an address in a bucket, which starts with "
            f"{', '.join(f'{store}://' for store in OBJECT_STORES)}: copy the files there or here first"
        )
    path = Path(text)
    if text.startswith("~") and not (path if folder is None else folder / path).exists():
        try:
            path = path.expanduser()
        except RuntimeError:  # nobody has that name
            path = Path(text)
    return path if folder is None else folder / path


def matches_pattern(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether a path matches a pattern, part by part; ``**`` stands for any number of parts."""
    if not pattern:
        return not parts
    if pattern[0] == "**":
        return any(matches_pattern(parts[number:], pattern[1:]) for number in range(len(parts) + 1))
    return bool(parts) and fnmatchcase(parts[0], pattern[0]) and matches_pattern(parts[1:], pattern[1:])
