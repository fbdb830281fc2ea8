"""Objects in a bucket: s3://, gs:// and az://, with the credentials, the region and the endpoint of the environment."""

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, TypeVar

from .. import files
from ..errors import InputError
from ..extras import library
from ..progress import track

CREDENTIALS = {
    "s3": "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION and, for a server of your own, AWS_ENDPOINT_URL, with "
    "AWS_ALLOW_HTTP=true if that is http://",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
}
RETRIES = {"max_retries": 3, "retry_timeout": timedelta(seconds=30)}
READ_AT_ONCE = 8 << 20  # bytes of a request, which must end within 30 s
WRITE_AT_ONCE, MOST_WRITES = 5 << 20, 5_000  # likewise; a store takes an object in 10,000 requests at most
PARALLEL_FILES, PARALLEL_WRITES = 8, 2  # files at a time, and requests at a time for one file
_SAID_BY_SERVER = re.compile(r"<Code>(.*?)</Code>\s*<Message>(.*?)</Message>", re.DOTALL)
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Object:
    """An object as its store lists it. e_tag: changes with its content. modified: when it was written last."""

    url: str
    size: int
    e_tag: str
    modified: str


def split_address(address: str) -> tuple[str, str]:
    """The address of the bucket, and the key. Raises InputError if there is no bucket."""
    scheme, _, rest = address.partition("://")
    bucket, _, key = rest.partition("/")
    if not bucket:
        raise InputError(f"{address} names no bucket; expected an address such as s3://BUCKET/FOLDER")
    return f"{scheme}://{bucket}", key


def head(address: str) -> Object | None:
    """The object of exactly this address, or None."""
    bucket, key = split_address(address)
    try:
        return _object(bucket, _obstore().head(_store(bucket), key))
    except (FileNotFoundError, _obstore().exceptions.PermissionDeniedError):
        return None  # refused where nothing may be listed, too; the answer to a listing says why


def objects_below(address: str) -> list[Object]:
    """The objects in a folder of a bucket, or in all of it."""
    bucket, prefix = split_address(address)
    return [_object(bucket, meta) for meta in _obstore().list(_store(bucket), prefix.rstrip("/") or None).collect()]


def read(address: str) -> bytes | None:
    """The content of a small object; None if there is no such object."""
    bucket, key = split_address(address)
    try:
        return bytes(_obstore().get(_store(bucket), key).bytes())
    except FileNotFoundError as error:
        if "NoSuchBucket" in str(error) or "ContainerNotFound" in str(error):
            raise
        return None


def write(address: str, content: bytes | Path) -> None:
    """Write an object, whole or not at all: a small content, or that of a file."""
    bucket, key = split_address(address)
    size = content.stat().st_size if isinstance(content, Path) else len(content)
    _obstore().put(
        _store(bucket), key, content, chunk_size=max(WRITE_AT_ONCE, size // MOST_WRITES),
        max_concurrency=PARALLEL_WRITES,
    )  # fmt: skip


def create(address: str, content: bytes) -> bytes:
    """Write a small object unless there is one, in one step of the store; return the content that is there now."""
    bucket, key = split_address(address)
    try:
        _obstore().put(_store(bucket), key, content, mode="create", use_multipart=False)
    except _obstore().exceptions.AlreadyExistsError:
        return read(address) or b""
    return content


def delete(addresses: Sequence[str]) -> None:
    """Delete objects of one bucket; those that are not there are no error."""
    if addresses:
        bucket, _ = split_address(addresses[0])
        _obstore().delete(_store(bucket), [split_address(address)[1] for address in addresses])


def download(address: str, size: int, path: Path, e_tag: str | None = None) -> str | None:
    """Write an object to a file, whole or not at all, and return the digest of its bytes.

    Args:
        address, size: The object.
        path: The file.
        e_tag: What the object must still have, where it may be written again; None for one that is named by its digest.

    Returns:
        sha256 in hex; None if there is no such object, or it has another ``e_tag``.
    """
    bucket, key = split_address(address)
    digest = hashlib.sha256()
    condition = {} if e_tag is None else {"if_match": e_tag}
    with suppress(_NotThereError), files.replacing(path) as temporary, temporary.open("wb") as file:
        for start in range(0, size, READ_AT_ONCE):
            options = condition | {"range": (start, min(start + READ_AT_ONCE, size))}
            try:
                content = _obstore().get(_store(bucket), key, options=options).bytes()
            except (FileNotFoundError, _obstore().exceptions.PreconditionError) as error:
                raise _NotThereError from error
            digest.update(content)
            with files.input_error_if_unwritable(path):
                file.write(content)
                file.flush()
        return digest.hexdigest()
    return None


class _NotThereError(Exception):
    """Ends a download without leaving anything."""


def in_parallel(function: Callable[[Item], Result], items: Iterable[Item], label: str, total: int) -> list[Result]:
    """The results of a function that waits for a store, for every item, several at a time; the first error ends it."""
    with ThreadPoolExecutor(PARALLEL_FILES) as pool:
        try:
            return list(track(pool.map(function, items), label, total))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


@contextmanager
def store_error(verb: Literal["read", "write"], what: str, address: str) -> Iterator[None]:
    """Turn what a store answers into an InputError of one line, which says what could not be read or written."""
    try:
        yield
    except (_obstore().exceptions.BaseError, OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        said = _SAID_BY_SERVER.search(str(error))
        reason = f"{said[1]}: {said[2]}" if said else next(iter(str(error).splitlines()), type(error).__name__)
        raise InputError(
            f"cannot {verb} {what}: {reason}; expected a bucket that this machine may {verb}: check the address, and "
            f"{CREDENTIALS[address.partition(':')[0]]}"
        ) from error


def _obstore() -> ModuleType:
    return library("obstore", "cloud", "a bucket")


@cache
def _store(bucket: str) -> Any:
    return library("obstore.store", "cloud", "a bucket").from_url(bucket, retry_config=RETRIES)


def _object(bucket: str, meta: dict[str, Any]) -> Object:
    modified: datetime = meta["last_modified"]
    return Object(f"{bucket}/{meta['path']}", meta["size"], meta["e_tag"] or meta["version"], modified.isoformat())
