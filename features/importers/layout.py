"""The layout of a published file, as data: which columns it has, by name, and of what type each is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Literal

import polars as pl

Table = Literal["events", "items", "users", "other"]
ColumnKind = Literal["id", "integer", "number", "time", "text", "list"]
NUMBER = r"^-?(\d+|\d{1,3}(,\d{3})+)?(\.\d+)?([eE][+-]?\d+)?$"  # 4.5, 1,299.00, 1e-05; "4,50" is none


@dataclass(frozen=True)
class Column:
    """One column of a published file.

    Attributes:
        name: In the table that is written.
        kind: "id" (text), "integer" (an id that is a number), "number", "time", "text", or "list" of texts.
        sources: Its names in the published editions; a row takes the first that has a value.
        required: Whether a file without it is of another layout.
        separator: Between the values of a list that is published as one text.
        member: The member of a record that counts, in a list of records.
        formats: Of a time that is text; without any, a time is the seconds or milliseconds since 1970.
        junk: Text that matches this pattern is no value.
    """

    name: str
    kind: ColumnKind
    sources: tuple[str, ...]
    required: bool = False
    separator: str = ""
    member: str = ""
    formats: tuple[str, ...] = ()
    junk: str = ""

    @property
    def dtype(self) -> pl.DataType:
        """The type of the column before it is read: text, or a list of texts."""
        return pl.List(pl.String()) if self.kind == "list" and not self.separator else pl.String()

    def read(self) -> pl.Expr:
        """The value, from a column of ``dtype``; null where there is none or where it cannot be read."""
        raw = pl.col(self.name)
        if self.kind == "list":
            values = raw.str.split(self.separator) if self.separator else raw
            values = values.list.eval(self._without_junk(pl.element().str.strip_chars()).drop_nulls())
            return values.list.unique(maintain_order=True)
        text = raw.str.strip_chars()
        if self.kind == "time" and self.formats:
            parsed = [text.str.to_datetime(form, time_unit="us", strict=False) for form in self.formats]
            return pl.coalesce(
                moment.dt.convert_time_zone("UTC").dt.replace_time_zone(None) if "%z" in form else moment
                for form, moment in zip(self.formats, parsed, strict=True)
            )
        if self.kind == "integer":
            return text.cast(pl.Int64, strict=False)
        if self.kind in ("number", "time"):
            digits = text.str.strip_prefix("$").str.strip_chars()
            number = pl.when(digits.str.contains(NUMBER)).then(digits.str.replace_all(",", "", literal=True))
            value = number.cast(pl.Float64, strict=False)
            return pl.when(value.is_finite()).then(value)
        return self._without_junk(raw)

    def _without_junk(self, text: pl.Expr) -> pl.Expr:
        is_value = text.str.strip_chars() != ""
        return pl.when(is_value & ~text.str.contains(self.junk) if self.junk else is_value).then(text)

    def unreadable(self) -> pl.Expr:
        """The text where it is no value; null elsewhere."""
        if self.kind == "list":
            return pl.lit(None, pl.String)
        text = pl.col(self.name)
        return pl.when((text.str.strip_chars() != "") & self.read().is_null()).then(text)


@dataclass(frozen=True)
class Layout:
    """One published kind of file.

    Attributes:
        table: What its rows are. "other" is for the importer's own use.
        files: The pattern of its name, without ``.gz``.
        columns: What is read of it.
        separator: Between the fields of a line; none means JSON lines.
        header: The names of the fields in the published order, where the file does not name them itself.
        records: The list inside each JSON record whose members are the rows; they have the fields of the record, too.
        unlike: Names of columns that show a file to be of another layout.
        prepare: From a table of text with the published names to another such table, before columns are read.
    """

    table: Table
    files: str
    columns: tuple[Column, ...]
    separator: str = ""
    header: tuple[str, ...] = ()
    records: str = ""
    unlike: tuple[str, ...] = ()
    prepare: Callable[[pl.LazyFrame, Path], pl.LazyFrame] | None = None

    def is_named(self, path: Path) -> bool:
        """Whether a file is called as this layout's files are."""
        return fnmatch(path.name.lower().removesuffix(".gz"), self.files)

    def fits(self, names: Sequence[str]) -> bool:
        """Whether a file with these columns is of this layout, and has more of it than an id."""
        num_present = len(self.columns) - len(self.absent(names))
        is_more = bool(self.records) or num_present > 1
        return not self.lacks(names) and not set(self.unlike) & set(names) and is_more

    def lacks(self, names: Sequence[str]) -> list[str]:
        """The required columns that are missing in a file with these columns, each as its names by edition."""
        needed: list[tuple[str, ...]] = [(self.records,)] if self.records else []
        needed += [column.sources for column in self.columns if column.required]
        return [" or ".join(sources) for sources in needed if not set(sources) & set(names)]

    def unread(self, names: Sequence[str]) -> list[str]:
        """The columns of a file that are not read."""
        used = {source for column in self.columns for source in column.sources} | {self.records}
        return sorted(set(names) - used)

    def absent(self, names: Sequence[str]) -> list[str]:
        """The columns that are read where there are any, and which a file lacks."""
        return [column.name for column in self.columns if not set(column.sources) & set(names)]
