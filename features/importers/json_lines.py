"""JSON lines, and lines of Python literals as some downloads have them, to tables of text."""

import ast
import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl

from recsys.errors import InputError

from .download import REMEDY
from .layout import Column, Layout

MAX_LINE = 1 << 25  # characters; the longest record of these downloads has a hundredth of that
FIRST = 100  # records by which a file is recognised
BATCH = 50_000  # rows that are held in memory


def first_keys(path: Path) -> list[str]:
    """The names of the fields of the first records: any of them may lack some.

    Raises:
        InputError: The file is damaged or empty, or one of these lines is no record.
    """
    keys = dict.fromkeys(key for _, record in islice(_records(path), FIRST) for key in record)
    if not keys:
        raise InputError(f"{path} is empty; expected JSON lines")
    return list(keys)


def write_as_text(path: Path, layout: Layout, folder: Path) -> list[str]:
    """Write what a layout reads of JSON lines as Parquet files: text, and lists of texts.

    Args:
        path: The JSON lines, gzipped or not.
        layout: Which fields are read.
        folder: A new folder for the files.

    Returns:
        The names of all fields of the records.

    Raises:
        InputError: The file is damaged, or a field is of another type than its column.
    """
    folder.mkdir()
    keys: dict[str, None] = {}
    schema = {column.name: column.dtype for column in layout.columns}
    rows = _rows(path, layout, keys)
    for number, batch in enumerate(iter(lambda: list(islice(rows, BATCH)), [])):
        pl.DataFrame(batch, schema, orient="row").write_parquet(folder / f"{number:06}.parquet")
    if not any(folder.iterdir()):
        pl.DataFrame(schema=schema).write_parquet(folder / "000000.parquet")
    return list(keys)


def _rows(path: Path, layout: Layout, keys: dict[str, None]) -> Iterator[tuple[Any, ...]]:
    for number, record in _records(path):
        keys.update(dict.fromkeys(record))
        place = f"{path}, line {number}"
        members = [record]
        if layout.records:
            inner = record.get(layout.records) or []
            if not isinstance(inner, list) or not all(isinstance(member, dict) for member in inner):
                raise InputError(f"{place}: {layout.records} is {shown(inner)}; expected a list of records")
            members = [record | member for member in inner]
            for member in inner[:1]:
                keys.update(dict.fromkeys(member))
        for member in members:
            yield tuple(_text(member, column, place) for column in layout.columns)


def _text(record: Mapping[str, Any], column: Column, place: str) -> str | list[str] | None:
    """The value of a column in a record as text, or as a list of texts."""
    for source in column.sources:
        value = record.get(source)
        if value is None or value == "":
            continue
        if column.kind == "list":
            texts = list(_flat(value, column, f"{place}: {source}"))
            return column.separator.join(texts) if column.separator else texts
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            if column.kind == "id" and (isinstance(value, float) or _in_utf_8(value) != str(value)):
                break
            return _in_utf_8(value)
        if isinstance(value, bool) and column.kind == "text":
            return str(value)
        break
    else:
        return None
    expected = {"id": "text or a whole number", "time": "a time", "number": "a number"}.get(column.kind, "text")
    raise InputError(f"{place}: {source} is {shown(value)}; expected {expected}")


def _flat(value: object, column: Column, place: str) -> Iterator[str]:
    """The texts of a list, of lists within it, or of a single text."""
    if isinstance(value, list):
        for member in value:
            yield from _flat(member, column, place)
    elif isinstance(value, dict) and column.member and isinstance(value.get(column.member), str | int):
        yield _in_utf_8(value[column.member])
    elif isinstance(value, str | int | float):
        yield _in_utf_8(value)
    elif value is not None:
        raise InputError(f"{place} holds {shown(value)}; expected a list of texts")


def _in_utf_8(value: object) -> str:
    """A value as text; half of a surrogate pair, which JSON may hold and UTF-8 may not, becomes a question mark."""
    return str(value).encode("utf-8", "replace").decode("utf-8")


def _records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the records of a file with the numbers of their lines; blank lines hold none."""
    number = 0
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8-sig") as lines:
            for number, line in enumerate(iter(lambda: lines.readline(MAX_LINE), ""), 1):
                if len(line) == MAX_LINE:
                    raise InputError(f"{path}, line {number} has over {MAX_LINE:,} characters; expected JSON lines")
                if line.strip():
                    record = _parse(line)
                    if not isinstance(record, dict):
                        raise InputError(f"{path}, line {number}: expected one JSON record a line")
                    yield number, record
    except (EOFError, OSError, UnicodeDecodeError, zlib.error) as error:
        raise InputError(f"{path} is damaged after line {number} ({error}); {REMEDY}") from error


def _parse(line: str) -> object:
    """The JSON value or Python literal of a line; None if it is neither."""
    with suppress(ValueError, RecursionError):
        return json.loads(line)
    with suppress(ValueError, SyntaxError, RecursionError, MemoryError):
        return ast.literal_eval(line)
    return None


def shown(value: object) -> str:
    """A value in an error, cut if it is long."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
