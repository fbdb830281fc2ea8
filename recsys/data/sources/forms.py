"""How a file is stored: its form, by its ending and its first bytes."""

from dataclasses import dataclass
from pathlib import Path, PurePath

from ...errors import InputError
from .source import input_error_if_unreadable

ENDINGS = {
    ".parquet": "parquet", ".pq": "parquet", ".csv": "csv", ".tsv": "csv", ".jsonl": "json", ".ndjson": "json",
    ".feather": "ipc", ".arrow": "ipc", ".ipc": "ipc",
}  # fmt: skip
TEXT = ("csv", "json")  # the forms that carry no types, or few
EXPECTED = "Parquet (.parquet), CSV (.csv, .tsv), JSON lines (.jsonl, .ndjson) or Feather (.feather, .arrow, .ipc)"
_PACKED = (".gz", ".zip", ".bz2", ".xz", ".zst", ".7z", ".tar", ".lz4")


File = Path | str  # a file here, or the address of an object


@dataclass(frozen=True)
class Form:
    """How a file is to be read, as its name says. kind: a value of ``ENDINGS``. is_packed: by gzip."""

    kind: str
    is_packed: bool = False


@dataclass(frozen=True)
class Files:
    """The files behind a location, in the order in which they are read. is_hive: whether folders name columns."""

    forms: dict[File, Form]
    is_hive: bool


def is_hidden(name: str) -> bool:
    """Whether a file or folder is skipped, as the writers of folders of tables expect."""
    return name.startswith((".", "_"))


def is_table(name: str) -> bool:
    """Whether a member of a folder is a table, also one that is packed in a way that cannot be read."""
    path = Path(name.lower())
    return path.suffix in ENDINGS or (path.suffix in _PACKED and Path(path.stem).suffix in ENDINGS)


def form_of(file: Path, role: str) -> Form:
    """How a file is read, by its ending; by its first bytes if the ending says nothing and it is Parquet or Feather.

    Raises:
        InputError: Neither says how, or the content is not what the ending says.
    """
    kind, is_packed = _by_ending(file.name)
    with input_error_if_unreadable(f"{role} at {file}", "expected a file that can be read"), file.open("rb") as opened:
        head = opened.read(8)
        size = opened.seek(0, 2)
        opened.seek(max(0, size - 8))
        tail = opened.read(8)
    if kind is None and not is_packed:
        kind = {b"PAR1": "parquet", b"ARRO": "ipc"}.get(head[:4])
    if kind is None or (is_packed and kind not in TEXT):
        raise _no_form(file, role)
    form = Form(kind, is_packed)
    problem = _contradiction(form, head, tail)
    if problem is not None:
        raise InputError(f"cannot read {role} at {file}: {problem}")
    return form


def form_by_ending(file: str, role: str) -> Form:
    """How an object is read. Its bytes are elsewhere, so its ending must say it, or InputError is raised."""
    kind, is_packed = _by_ending(file)
    if kind is None or (is_packed and kind not in TEXT):
        raise _no_form(file, role)
    return Form(kind, is_packed)


def _by_ending(name: str) -> tuple[str | None, bool]:
    """The kind, None if the ending says none, and whether it is packed by gzip."""
    path = PurePath(name.lower())
    is_packed = path.suffix == ".gz"
    return ENDINGS.get(PurePath(path.stem).suffix if is_packed else path.suffix), is_packed


def _no_form(file: Path | str, role: str) -> InputError:
    unpack = ": unpack it" if PurePath(file).suffix.lower() in _PACKED else ""
    return InputError(f"{role}: {file} has an ending that says no form; expected {EXPECTED}{unpack}")


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
