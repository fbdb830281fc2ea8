"""Tables of the user: Parquet, CSV, JSON lines or Feather, in one file or in many that differ harmlessly."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

import polars as pl
import polars.selectors as cs

from ..errors import InputError
from .column_types import widen
from .sources import TEXT, File, Form, Source, input_error_if_unreadable, named, open_source
from .text_files import look_through, scan_csv, scan_json

ROUND_TRIPS = 32  # to an object store at a time
EXACT = 1 << 53  # up to here, floats of 64 bits hold every integer


@dataclass(frozen=True)
class Table:
    """A table of the user, opened but not read.

    Attributes:
        frame: Its rows. All columns of CSV are text.
        form: How it is stored: "parquet", "csv", "json", "ipc", "memory", or "rows" of a reader of its own.
    """

    frame: pl.LazyFrame
    form: str

    @property
    def is_text(self) -> bool:
        """Whether it is stored as text, so that its types are ours to choose."""
        return self.form in TEXT


@dataclass(frozen=True)
class _Part:
    """One file of a table, opened."""

    file: File
    frame: pl.LazyFrame
    schema: pl.Schema

    @property
    def name(self) -> str:
        """What the file is called, in its folder."""
        return Path(self.file).name


def scan_table(source: Source, role: str, required: Sequence[str], *, others: Sequence[str] | None = None) -> Table:
    """Open what a location names as a lazy table: files or objects, a table of a lake, or a query (sources/kinds.py).

    A table in memory is one, too.

    Files without rows are skipped. Where the files differ in the type of a column, it gets the type that holds all of
    their values.

    Args:
        source: The location, or the table in memory.
        role: Names the table in errors, such as "events".
        required: Columns that every file has.
        others: Columns that at least one file has; the table then has all columns of all files, null where a file lacks
            one. None for a table of the required columns only.

    Raises:
        InputError: There is no file, or a file is not what its ending says, is damaged, lacks a column, or differs from
            another in a way that could lose something.
    """
    table = named(role, source)
    if isinstance(source, pl.DataFrame):
        _require_columns([_Part(Path(), source.lazy(), source.schema)], required, others or (), table)
        return Table(source.lazy(), "memory")
    opened = open_source(source, role)
    if isinstance(opened, pl.LazyFrame):
        with input_error_if_unreadable(table):
            _require_columns([_Part(Path(), opened, opened.collect_schema())], required, others or (), table)
        return Table(opened, "rows")
    kind = _one_kind(opened.forms, table)
    with input_error_if_unreadable(table):
        if kind in TEXT:
            texts = [_open_text(Path(file), form, list(required), role) for file, form in opened.forms.items()]
            parts = [part for part in texts if part is not None]
        else:
            scan = partial(_scan_typed, kind, is_hive=opened.is_hive)
            frames = {file: scan([file]) for file in opened.forms}
            parts = [_Part(*opened_file) for opened_file in zip(frames, frames.values(), _schemas(frames), strict=True)]
            if all(part.schema == parts[0].schema for part in parts):
                _require_columns(parts, required, others or (), table)
                return Table(scan(list(opened.forms)), kind)
        if not parts:
            raise InputError(f"{table} is empty; expected a table with a header and rows")
        parts = [part for part in parts if _has_rows(part)] or parts[:1]
        _require_columns(parts, required, others or (), table)
        columns = (
            list(required) if others is None else dict.fromkeys(chain.from_iterable(part.schema for part in parts))
        )
        keys = required if kind == "json" else ()
        types = {column: _united_type(parts, column, table, is_key=column in keys) for column in columns}
        return Table(pl.concat([_aligned(part, types, table) for part in parts]), kind)


def _one_kind(forms: dict[File, Form], table: str) -> str:
    """The form that all files have."""
    kinds = {form.kind: file for file, form in forms.items()}
    if len(kinds) > 1:
        first, second = list(kinds.values())[:2]
        raise InputError(
            f"{table}: {Path(first).name} and {Path(second).name} are of different forms; expected one form: "
            "give a pattern, such as *.parquet"
        )
    return next(iter(kinds))


def _scan_typed(kind: str, sources: list[File], *, is_hive: bool) -> pl.LazyFrame:
    # the files are listed by us rather than by Polars, so that what is read is what the digest covers
    names = [str(source) for source in sources]
    if kind == "parquet":
        return pl.scan_parquet(names, glob=False, hive_partitioning=is_hive, extra_columns="ignore")
    return pl.scan_ipc(names, glob=False, hive_partitioning=is_hive)


def _schemas(frames: dict[File, pl.LazyFrame]) -> list[pl.Schema]:
    """The schemas of files; those of objects, which are round trips to their store, many at a time."""
    if not any(isinstance(file, str) for file in frames):
        return [frame.collect_schema() for frame in frames.values()]
    with ThreadPoolExecutor(ROUND_TRIPS) as pool:
        return list(pool.map(pl.LazyFrame.collect_schema, frames.values()))


_EXPECTED = {"csv": "expected a header and lines with its columns", "json": "expected one object on each line"}


def _open_text(file: Path, form: Form, required: list[str], role: str) -> _Part | None:
    found = look_through(file, form, role)
    with input_error_if_unreadable(f"{role} at {file}", _EXPECTED[form.kind]):
        frame = scan_csv(found, required, role) if form.kind == "csv" else scan_json(found)
        return None if frame is None else _Part(file, frame, frame.collect_schema())


def _has_rows(part: _Part) -> bool:
    return part.frame.head(1).collect().height > 0


def _require_columns(parts: list[_Part], required: Sequence[str], others: Sequence[str], table: str) -> None:
    """Raise InputError if a file lacks one of ``required``, or all lack one of ``others``."""
    present = dict.fromkeys(chain.from_iterable(part.schema for part in parts))
    for column in [*required, *others]:
        lacking = next((part for part in parts if column not in part.schema), None)
        if column in present and (lacking is None or column not in required):
            continue
        example = lacking if column in present else None
        where = table if example is None else f"{table}: {example.name}"
        found = present if example is None else example.schema
        raise InputError(
            f"{where} has no column {column!r}; found {', '.join(found)}: name the right column in the config"
        )


def _united_type(parts: list[_Part], column: str, table: str, *, is_key: bool) -> pl.DataType:
    """The type of a column in all files together. is_key: whether integers beside text are text, as ids of JSON are."""
    typed = [(part, part.schema[column]) for part in parts if column in part.schema]
    united, widest = typed[0][1], typed[0][0]
    for part, dtype in typed[1:]:
        wider = widen(united, dtype)
        if is_key and {True} == {kind.is_integer() or kind == pl.String for kind in (united, dtype)} and wider is None:
            wider = pl.String()
        if wider is None:
            raise InputError(
                f"{table}: {column} is {united} in {widest.name}, {dtype} in {part.name}; expected types of "
                "which one holds all values: cast the column in one of them"
            )
        if wider != united:
            united, widest = wider, part
    return united


def _aligned(part: _Part, types: dict[str, pl.DataType], table: str) -> pl.LazyFrame:
    """A file with all columns, each in its type."""
    columns = []
    for name, dtype in types.items():
        if name not in part.schema:
            columns.append(pl.lit(None, dtype).alias(name))
        elif part.schema[name] == dtype:
            columns.append(cs.by_name(name).as_expr())
        else:
            if dtype == pl.Float64 and part.schema[name].is_integer():
                _require_exact(part, name, table)
            columns.append(cs.by_name(name).cast(dtype))
    return part.frame.select(columns)


def _require_exact(part: _Part, column: str, table: str) -> None:
    """Raise InputError if an integer of the column would be rounded as a float."""
    values = part.frame.select(low=cs.by_name(column).min(), high=cs.by_name(column).max()).collect()
    for value in values.row(0):
        if value is not None and abs(value) > EXACT:
            raise InputError(
                f"{table}: {column} is {value} in {part.name}, which the floats of other files cannot hold; "
                "expected one type: cast the column in one of them"
            )
