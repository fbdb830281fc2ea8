"""What a table is read from: the files behind a location, which must stay the same meanwhile, or a table in memory."""

import hashlib
import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import polars as pl

from .. import files
from ..errors import InputError
from ..paths import local_path

ENDINGS = {
    ".parquet": "parquet", ".pq": "parquet", ".csv": "csv", ".tsv": "csv", ".jsonl": "json", ".ndjson": "json",
    ".feather": "ipc", ".arrow": "ipc", ".ipc": "ipc",
}  # fmt: skip
TEXT = ("csv", "json")  # the forms that carry no types, or few
EXPECTED = "Parquet (.parquet), CSV (.csv, .tsv), JSON lines (.jsonl, .ndjson) or Feather (.feather, .arrow, .ipc)"
_PACKED = (".gz", ".zip", ".bz2", ".xz", ".zst", ".7z", ".tar", ".lz4")


Source = str | pl.DataFrame  # a path, a pattern of files or a folder; or a table in memory


class ArrowTable(Protocol):
    """A table in memory that hands over its columns: a DataFrame of Polars or pandas, or a Table of pyarrow."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Arrow's interface between libraries."""


AnySource = str | os.PathLike[str] | pl.LazyFrame | ArrowTable


@dataclass(frozen=True)
class Form:
    """How a file is to be read, as its name says. kind: a value of ``ENDINGS``. is_packed: by gzip."""

    kind: str
    is_packed: bool = False


@contextmanager
def input_error_if_unreadable(what: str, remedy: str = "expected whole files of one schema") -> Iterator[None]:
    """Turn an error while ``what`` is read, also a panic of Polars, into an InputError of one line."""
    try:
        yield
    except pl.exceptions.PanicException as error:  # which is no Exception
        raise InputError(f"cannot read {what}: it is damaged, or changed while it was read; {remedy}") from error
    except (OSError, TypeError, pl.exceptions.PolarsError) as error:
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise InputError(f"cannot read {what}: {reason}; {remedy}") from error


def as_source(given: AnySource, role: str) -> Source:
    """What a caller gives to be read: paths as they are, any table in memory as one of Polars.

    Raises:
        InputError: It is neither, or cannot be read.
    """
    if isinstance(given, str | os.PathLike):
        return os.fspath(given)
    with input_error_if_unreadable(named(role, pl.DataFrame()), "expected a table of plain columns"):
        if isinstance(given, pl.LazyFrame):
            return given.collect()
        if isinstance(given, pl.DataFrame):
            return given
        if type(given).__module__.partition(".")[0] == "pandas" and hasattr(given, "columns"):
            try:
                return pl.from_pandas(given)  # without the index of pandas, and with null for NaN
            except ValueError as error:  # mixed types, or two columns of one name
                raise TypeError(str(error)) from error
        if hasattr(given, "__arrow_c_stream__") and hasattr(given, "column_names"):
            return pl.DataFrame(given)
    raise InputError(f"{role} are a {type(given).__name__}; expected a path, or a DataFrame of Polars or pandas")


def named(role: str, source: Source) -> str:
    """A table in an error: "items at items.parquet", or "items in memory"."""
    return f"{role} at {source}" if isinstance(source, str) else f"{role} in memory"


def source_files(location: str, role: str = "input") -> list[Path]:
    """The files behind ``location``, in the order in which they are read.

    Something of that very name is meant before a pattern is. Inside a folder, and by a pattern, names that start with
    "." or "_" are skipped, as the writers of such folders expect.

    Raises:
        InputError: There is no file, or something that is no regular file.
    """
    with input_error_if_unreadable(f"{role} at {location}", "expected files that can be read"):
        sources = list(dict.fromkeys(  # without repeats: "**" matches a folder and what is in it
            file for match in _matches(location, role) for file in (_members(match) if match.is_dir() else [match])
        ))  # fmt: skip
        for file in sources:
            if not file.is_file():
                raise InputError(f"{role}: {file} is {_nature(file)}; expected regular files only: leave it out")
            if str(file) != os.fsencode(file).decode("utf-8", "replace"):  # Polars could not open it
                raise InputError(f"{role}: {os.fsencode(file)!r} is no name in UTF-8; expected one: rename the file")
    if not sources:
        raise InputError(f"{role}: no table at {location}; expected a file, a pattern or a folder of {EXPECTED} files")
    return sources


def _matches(location: str, role: str) -> list[Path]:
    """What a path or pattern matches. As far as it exists literally, ``[ ] * ?`` are letters."""
    path = local_path(location)
    if path.exists() or path.is_symlink() or not path.parts:
        return [path]
    existing = next(parent for parent in path.parents if parent.exists())
    pattern = path.relative_to(existing)
    try:
        matches = sorted(existing.glob(str(pattern)))
    except (ValueError, NotImplementedError) as error:  # pathlib raises either for a malformed pattern
        raise InputError(f"{role}: {location} is no pattern of files: {error}") from error
    wanted = {part[0] for part in pattern.parts if _is_hidden(part)}
    return [
        match
        for match in matches
        if all(part[0] in wanted for part in match.relative_to(existing).parts if _is_hidden(part))
    ]


def _members(folder: Path) -> list[Path]:
    """The tables in a folder and the folders in it, also where those are links."""
    members, entered = [], set()
    for parent, folders, names in os.walk(folder, followlinks=True, onerror=_raise):
        here = Path(parent)
        if here.resolve() in entered:  # a link to a folder above
            folders.clear()
            continue
        entered.add(here.resolve())
        folders[:] = [name for name in folders if not _is_hidden(name)]
        members += [here / name for name in names if not _is_hidden(name) and _is_table(name)]
    return sorted(members)


def _raise(error: OSError) -> None:
    raise error


def _is_hidden(name: str) -> bool:
    return name.startswith((".", "_"))


def _is_table(name: str) -> bool:
    """Whether a member of a folder is a table, also one that is packed in a way that cannot be read."""
    path = Path(name.lower())
    return path.suffix in ENDINGS or (path.suffix in _PACKED and Path(path.stem).suffix in ENDINGS)


def _nature(file: Path) -> str:
    if not file.exists():
        return "a link to nothing" if file.is_symlink() else "gone"
    mode = file.stat().st_mode
    for is_nature, name in ((stat.S_ISFIFO, "a named pipe"), (stat.S_ISSOCK, "a socket")):
        if is_nature(mode):
            return name
    return "a device"


def form_of(file: Path, role: str) -> Form:
    """How a file is read, by its ending; by its first bytes if the ending says nothing and it is Parquet or Feather.

    Raises:
        InputError: Neither says how, or the content is not what the ending says.
    """
    name = Path(file.name.lower())
    is_packed = name.suffix == ".gz"
    kind = ENDINGS.get(Path(name.stem).suffix if is_packed else name.suffix)
    with input_error_if_unreadable(f"{role} at {file}", "expected a file that can be read"), file.open("rb") as opened:
        head = opened.read(8)
        size = opened.seek(0, 2)
        opened.seek(max(0, size - 8))
        tail = opened.read(8)
    if kind is None and not is_packed:
        kind = {b"PAR1": "parquet", b"ARRO": "ipc"}.get(head[:4])
    if kind is None or (is_packed and kind not in TEXT):
        unpack = ": unpack it" if name.suffix in _PACKED else ""
        raise InputError(f"{role}: {file} has an ending that says no form; expected {EXPECTED}{unpack}")
    form = Form(kind, is_packed)
    problem = _contradiction(form, head, tail)
    if problem is not None:
        raise InputError(f"cannot read {role} at {file}: {problem}")
    return form


def _contradiction(form: Form, head: bytes, tail: bytes) -> str | None:
    """What the first and last bytes of a file say against its ending."""
    held = next((name for magic, name in _MAGIC.items() if head.startswith(magic)), None)
    if form.is_packed:
        return None if held == "gzip" or not head else "it is not gzip; expected what its ending says: rename it"
    if form.kind in TEXT:
        return None if held is None else f"it holds {held}, not text; expected what its ending says: rename it"
    wanted = {"parquet": "Parquet", "ipc": "Feather"}[form.kind]
    if held == wanted:
        is_whole = tail.endswith(b"PAR1" if form.kind == "parquet" else b"ARROW1")
        return None if is_whole else "it is truncated: its end is missing; expected a whole file: copy it again"
    if not head:
        return f"it is empty; expected {wanted}: write or copy it again"
    return f"it holds {held or 'something else'}, not {wanted}; expected {wanted}, or an ending that says what it is"


_MAGIC = {
    b"PAR1": "Parquet", b"ARROW1": "Feather", b"FEA1": "Feather of version 1", b"\xff\xff\xff\xff": "an Arrow stream",
    b"\x1f\x8b": "gzip", b"PK\x03\x04": "a zip archive", b"\x28\xb5\x2f\xfd": "Zstandard", b"SQLite f": "SQLite",
    b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x89HDF": "HDF5", b"ORC": "ORC", b"Obj\x01": "Avro",
}  # fmt: skip


def source_digest(source: Source, role: str = "input") -> str:
    """The fingerprint of what is read: of the bytes of files and the values that hive folders carry in their names, or
    of the columns of a table in memory.
    """
    with input_error_if_unreadable(named(role, source)):
        if isinstance(source, pl.DataFrame):
            content = io.BytesIO()
            source.rechunk().write_parquet(content, compression="uncompressed")  # the same values are the same bytes
            return hashlib.sha256(content.getbuffer()).hexdigest()
        return files.digest(*(
            [files.sha256(file), [part for part in file.parent.parts if "=" in part]]
            for file in source_files(source, role)
        ))  # fmt: skip


def source_identities(location: str, role: str = "input") -> list[tuple[str, int, int, int, int]]:
    """What tells that the files are the same ones, not opened for writing since: programs cannot set ctime.

    Other files may have been there for a while, and been read, before the first ones came back with the same digest.
    """
    with input_error_if_unreadable(f"{role} at {location}"):
        stats = [(str(file), file.stat()) for file in source_files(location, role)]
    return [(name, stat.st_dev, stat.st_ino, stat.st_size, stat.st_ctime_ns) for name, stat in stats]


def require_unchanged(source: Source, role: str, digest: str) -> None:
    """Raise InputError if the files behind a path no longer have the digest that they had before reading."""
    if isinstance(source, str) and source_digest(source, role) != digest:
        raise InputError(
            f"{role} at {source} changed while it was read; expected files at rest: run again when they are complete"
        )
