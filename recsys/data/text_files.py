"""CSV and JSON-lines files: looked through once, within bounds, and opened as lazy tables."""

import codecs
import csv
import glob
import gzip
import io
import re
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from ..errors import InputError
from .sources import Form

MAX_LINE = 1 << 24  # bytes
MAX_DEPTH = 100  # lists and objects of JSON within each other
MAX_GROWTH, GROWTH_FROM = 200, 1 << 30  # how many times its size, beyond how many bytes, a packed file may become
SEPARATORS = ",;\t|"
BLOCK = 1 << 20
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}\n"))
_BLANK_LINE = re.compile(rb"\n\r?(?=\n)")


@dataclass(frozen=True)
class TextFile:
    """What looking through a text file found.

    Attributes:
        path: The file.
        is_packed: Whether it is packed by gzip.
        has_mark: Whether it starts with a byte order mark.
        has_blank_lines: Whether a line is empty, other than by its line end.
        first_line: The first line that is not blank, without its line end; "" if there is none.
    """

    path: Path
    is_packed: bool
    has_mark: bool
    has_blank_lines: bool
    first_line: str

    def content(self) -> Path | io.BytesIO:
        """What a reader is to be given: the file, or its unpacked bytes if the reader would trip over the mark."""
        if not self.has_mark:
            return self.path
        return io.BytesIO(b"".join(_blocks(self.path, self.is_packed)).removeprefix(codecs.BOM_UTF8))


def look_through(path: Path, form: Form, role: str) -> TextFile:
    """Read a text file once, without keeping it.

    Raises:
        InputError: It is not UTF-8, is damaged, or is beyond the bounds of a line, of nesting or of unpacking.
    """
    where, decoder = f"cannot read {role} at {path}", codecs.getincrementaldecoder("utf-8")()
    size, unpacked, line_length, depth, line = path.stat().st_size, 0, 0, 0, 1
    has_mark, has_blank_lines, before, head = False, False, b"\n", b""
    try:
        for block in _blocks(path, form.is_packed):
            if not unpacked:
                has_mark = block.startswith(codecs.BOM_UTF8)
                _refuse_utf_16(block, where)
            unpacked += len(block)
            if form.is_packed and unpacked > max(GROWTH_FROM, MAX_GROWTH * size):
                raise InputError(
                    f"{where}: it unpacks to more than {MAX_GROWTH} times its size; expected a log: unpack it yourself "
                    "if it is one"
                )
            line_length = _longest_line(block, line_length, where)
            decoder.decode(block)
            if form.kind == "json":
                depth = _refuse_deep_nesting(block, depth, where)
            has_blank_lines = has_blank_lines or bool(_BLANK_LINE.search(before[-2:] + block))
            if len(head) < MAX_LINE and not head.strip().count(b"\n"):
                head = (head + block).removeprefix(codecs.BOM_UTF8)
            before, line = block, line + block.count(b"\n")
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        line += error.object[: error.start].count(b"\n")
        raise InputError(
            f"{where}: line {line:,} is not UTF-8; expected UTF-8 text: convert it, as by `iconv -f LATIN1 -t UTF-8`, "
            "with the encoding that it has"
        ) from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(
            f"{where}: it is truncated or damaged ({error}); expected a whole file: copy it again"
        ) from error
    first_line = next((text for text in head.decode("utf-8", "ignore").split("\n") if text.strip()), "").rstrip("\r")
    if form.kind == "csv" and "\r" in first_line:
        raise InputError(
            f"{where}: its lines end in carriage returns alone; expected line feeds: convert it, as by `tr '\\r' '\\n'`"
        )
    return TextFile(path, form.is_packed, has_mark, has_blank_lines, first_line)


def _blocks(path: Path, is_packed: bool) -> Iterator[bytes]:
    with gzip.open(path) if is_packed and path.stat().st_size else path.open("rb") as file:
        while block := file.read(BLOCK):
            yield block


def _refuse_utf_16(block: bytes, where: str) -> None:
    if block.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in block[:1024]:
        raise InputError(
            f"{where}: it is UTF-16 or no text; expected UTF-8 text: convert it, as by `iconv -f UTF-16 -t UTF-8`"
        )


def _longest_line(block: bytes, carried: int, where: str) -> int:
    """The length of the line that the block leaves unfinished. Blocks are short: only such a line can be too long."""
    last = block.rfind(b"\n")
    length = carried + len(block) if last < 0 else len(block) - last - 1
    if length > MAX_LINE or carried + block.find(b"\n") > MAX_LINE:
        raise InputError(f"{where}: a line is longer than {MAX_LINE >> 20} MiB; expected one event or row a line")
    return length


def _refuse_deep_nesting(block: bytes, depth: int, where: str) -> int:
    """The depth at the end of the block. Brackets within strings count, too, but not beyond their line."""
    brackets = np.frombuffer(block.translate(None, _NO_BRACKETS), np.uint8)
    steps = np.where((brackets == ord("[")) | (brackets == ord("{")), 1, -1)
    ends = brackets == ord("\n")
    steps[ends] = 0
    depths = depth + np.cumsum(steps)
    if not len(depths):
        return depth
    if not ends.any() and depths.max() <= MAX_DEPTH:
        return int(depths[-1])
    last_end = np.maximum.accumulate(np.where(ends, np.arange(len(ends)), -1))
    in_line = depths - np.where(last_end >= 0, depths[last_end], 0)
    if in_line.max() > MAX_DEPTH:
        raise InputError(f"{where}: JSON is nested more than {MAX_DEPTH} deep; expected one flat object a line")
    return int(in_line[-1])


def scan_csv(file: TextFile, required: list[str], role: str) -> pl.LazyFrame | None:
    """Open a CSV file, all of whose columns are text; None if it holds nothing.

    Args:
        file: What looking through it found.
        required: Columns that it should have, by which the separator is known.
        role: Names the table in errors.

    Raises:
        InputError: Two columns have the same name.
    """
    if not file.first_line:
        return None
    declared = re.fullmatch(r'"?sep=(.)"?', file.first_line)  # Excel writes such a first line
    separator = declared.group(1) if declared else _separator(file.first_line, required)
    if not declared:
        repeated = [name for name, count in Counter(_names(file.first_line, separator)).items() if count > 1]
        if repeated:
            raise InputError(
                f"cannot read {role} at {file.path}: two columns are called {repeated[0]!r}; expected distinct names"
            )
    frame = pl.scan_csv(
        file.path, glob=False, separator=separator, infer_schema=False, skip_lines=1 if declared else 0
    )  # fmt: skip
    if file.has_blank_lines:
        frame = frame.filter(~pl.all_horizontal(pl.all().is_null()))
    return frame


def _separator(header: str, required: list[str]) -> str:
    """The separator by which the header has most of the required columns, and then most columns."""

    def merit(separator: str) -> tuple[int, int]:
        names = _names(header, separator)
        return len(set(required) & set(names)), len(names)

    return max(SEPARATORS, key=merit)


def _names(header: str, separator: str) -> list[str]:
    try:
        return next(csv.reader([header], delimiter=separator), [])
    except csv.Error:  # a name of more than 128 KiB
        return header.split(separator)


def scan_json(file: TextFile) -> pl.LazyFrame | None:
    """Open a JSON-lines file, with types that suit all of its lines; None if it holds nothing."""
    if not file.first_line:
        return None
    content = file.content()
    if isinstance(content, Path):
        content = Path(glob.escape(str(content)))  # there is no way to say that it is no pattern
    return pl.scan_ndjson(content, infer_schema_length=None)
