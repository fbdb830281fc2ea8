"""From the files of a download to typed tables, by the layouts that they are known to have.

Every file is read once, into Parquet files of a scratch folder; what follows reads those, a part at a time.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from recsys.data import input_error_if_unreadable, scan_table
from recsys.errors import InputError

from .download import REMEDY
from .json_lines import first_keys, shown, write_as_text
from .layout import Column, Layout

EARLIEST, MILLISECONDS, LATEST = 1e8, 1e11, 1e14  # from 1973 on: seconds, then milliseconds, then no time
MOST_UNREADABLE = 0.1  # of an event's column: beyond, the file is of another layout


@dataclass
class PublishedTables:
    """What the files of a download hold.

    Attributes:
        by_name: Every table, its columns typed and named as ours; rows may lack any value.
        sources: The layouts that were found, by table.
        notes: What was not read, or could not be, in words.
    """

    by_name: dict[str, pl.LazyFrame] = field(default_factory=dict)
    sources: dict[str, list[Layout]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def read_published(name: str, layouts: Sequence[Layout], paths: Sequence[Path], scratch: Path) -> PublishedTables:
    """Read the files of a download.

    Args:
        name: What the download is called in errors.
        layouts: What its files may look like; where several fit, the first counts.
        paths: Files, and folders whose files are those that are named like a layout's.
        scratch: An empty folder for interim files.

    Raises:
        InputError: There is no such file, one of no known layout, a damaged one, or no events.
    """
    parts: dict[str, list[pl.LazyFrame]] = {}
    tables = PublishedTables()
    for number, path in enumerate(_files(name, layouts, paths)):
        file = _recognise(path, layouts)
        with input_error_if_unreadable(f"the download at {path}", REMEDY):
            part = _read(path, file, scratch / f"{number:03}", tables.notes)
        parts.setdefault(file.layout.table, []).append(part)
        tables.sources.setdefault(file.layout.table, []).append(file.layout)
    if "events" not in parts:
        wanted = [layout for layout in layouts if layout.table == "events"]
        raise InputError(f"no file holds events; expected {_descriptions(wanted)}")
    for table, frames in parts.items():
        tables.by_name[table] = _concat(table, frames)
    if "timestamp" in tables.by_name["events"].collect_schema():
        tables.by_name["events"] = _one_unit_of_time(tables.by_name["events"], tables.notes)
    return tables


def split_off_items(tables: PublishedTables) -> tuple[pl.LazyFrame, pl.LazyFrame | None]:
    """The events, and the items: those of a file of their own, or else those that events name in ``title``."""
    events, items = tables.by_name["events"], tables.by_name.get("items")
    if "title" not in events.collect_schema():
        return events, items
    if items is None:
        items = events.select("item_id", "title").unique("item_id", keep="first", maintain_order=True)
    return events.drop("title"), items


def _files(name: str, layouts: Sequence[Layout], paths: Sequence[Path]) -> Iterator[Path]:
    if not paths:
        raise InputError(f"no path; expected files of {name}, or the folder of the download")
    for path in paths:
        if path.suffix in (".zip", ".tar", ".tgz"):
            raise InputError(f"{path} is an archive; expected what is in it: unpack it first")
        if path.is_dir():
            named = [file for file in sorted(path.iterdir()) if any(layout.is_named(file) for layout in layouts)]
            if not named:
                patterns = ", ".join(dict.fromkeys(layout.files for layout in layouts))
                raise InputError(f"no {name} download at {path}; expected a folder with {patterns}: unpack the archive")
            yield from named
        elif path.is_file():
            yield path
        else:
            raise InputError(f"no file at {path}; expected a file of {name}, or the folder of the download")


@dataclass(frozen=True)
class _Recognised:
    """A file of a known layout. names: of its columns. text: its rows as text; None for JSON lines."""

    layout: Layout
    names: list[str]
    text: pl.LazyFrame | None


def _recognise(path: Path, layouts: Sequence[Layout]) -> _Recognised:
    """Find the layout of a file, whose columns have to be there by name or, without a header, by their number."""
    is_json = path.name.lower().removesuffix(".gz").endswith((".json", ".jsonl", ".ndjson"))
    kinds = [layout for layout in layouts if is_json == (not layout.separator)]
    names: list[str] = []
    headed: pl.LazyFrame | None = None
    for layout in kinds:
        if layout.header and not layout.is_named(path):
            continue
        with input_error_if_unreadable(f"the download at {path}", REMEDY):
            if layout.header:
                return _Recognised(layout, list(layout.header), _scan_bare(path, layout))
            if not names and not is_json:
                headed = _scan_headed(path, layout)
            names = names or (first_keys(path) if headed is None else headed.collect_schema().names())
        if layout.fits(names):
            return _Recognised(layout, names, headed)
    found = "".join(letter for letter in ", ".join(names) if letter.isprintable())
    raise InputError(f"{path} has {found or 'no known form'}; expected {_descriptions(kinds or layouts)}")


def _scan_headed(path: Path, layout: Layout) -> pl.LazyFrame:
    if path.name.lower().removesuffix(".gz").endswith((".csv", ".tsv")):
        return scan_table(str(path), "the download", [], others=[]).frame
    return pl.scan_csv(path, separator=layout.separator, infer_schema=False, glob=False, quote_char=None)


def _scan_bare(path: Path, layout: Layout) -> pl.LazyFrame:
    """Open a file without a header, with names by the order of its columns.

    Raises:
        InputError: Its first line has another number of columns, or text where the layout has numbers.
    """
    quote = '"' if layout.separator == "," else None
    raw = pl.scan_csv(
        path, separator=layout.separator, has_header=False, infer_schema=False, glob=False, quote_char=quote
    )  # fmt: skip
    numbered = raw.collect_schema().names()
    if len(numbered) != len(layout.header):
        raise InputError(f"{path} has {len(numbered)} fields a line; expected {_description(layout)}")
    raw = raw.rename(dict(zip(numbered, layout.header, strict=True))).filter(~pl.all_horizontal(pl.all().is_null()))
    first = raw.head(1).collect()
    columns = [column for column in layout.columns if set(column.sources) & set(layout.header)]
    texts = _by_name(first.lazy(), columns).select(column.unreadable() for column in columns).collect()
    if any(text is not None for row in texts.rows() for text in row):
        raise InputError(f"{path} begins with {shown(first.row(0))}; expected {_description(layout)}, without a header")
    return raw


def _read(path: Path, file: _Recognised, scratch: Path, notes: list[str]) -> pl.LazyFrame:
    """One file as a typed table; see the module."""
    scratch.mkdir()
    layout, names, raw = file.layout, file.names, file.text
    if raw is not None:
        if layout.prepare:
            raw = layout.prepare(raw, scratch)
            names = raw.collect_schema().names()
        text = _by_name(raw, layout.columns)
    else:
        names = write_as_text(path, layout, scratch / "text")
        text = pl.scan_parquet(scratch / "text" / "*.parquet")
    values = [column.read().alias(column.name) for column in layout.columns]
    unreadable = [column.unreadable().alias(_unreadable_part(column)) for column in layout.columns]
    text.select(*values, *unreadable).sink_parquet(scratch / "typed.parquet")
    typed = pl.scan_parquet(scratch / "typed.parquet", glob=False)
    notes += _unreadable(path, layout, typed)
    unread, absent = layout.unread(names), layout.absent(names)
    notes += [f"{path.name}: not read: {', '.join(unread)}"] if unread else []
    notes += [f"{path.name}: has no {', '.join(absent)}"] if absent else []
    return typed.select(column.name for column in layout.columns if column.name not in absent)


def _unreadable_part(column: Column) -> str:
    return f"{column.name}, unreadable"


def _by_name(raw: pl.LazyFrame, columns: Sequence[Column]) -> pl.LazyFrame:
    """The columns that are read, under our names and of their raw types; null where the file has none."""
    present = raw.collect_schema().names()
    return raw.select(
        pl.coalesce(*(source for source in column.sources if source in present), pl.lit(None))
        .cast(column.dtype)
        .alias(column.name)
        for column in columns
    )


def _unreadable(path: Path, layout: Layout, typed: pl.LazyFrame) -> Iterator[str]:
    """Say of each column how many of its values could not be read.

    Raises:
        InputError: Of a column of events they are so many that it holds something else.
    """
    num_rows = typed.select(pl.len()).collect().item()
    for column in layout.columns:
        texts = pl.col(_unreadable_part(column))
        count, example = typed.select(texts.count(), texts.drop_nulls().first().alias("example")).collect().row(0)
        if not count:
            continue
        found = f"{column.name} cannot be read in {count:,} of {num_rows:,} rows, such as {shown(example)}"
        if layout.table == "events" and count > MOST_UNREADABLE * num_rows:
            expected = " or ".join(column.formats) or f"a number, as {' or '.join(column.sources)} is published"
            raise InputError(f"the download at {path}: {found}; expected {expected}: {REMEDY}")
        yield f"{path.name}: {found}"


def _concat(table: str, frames: list[pl.LazyFrame]) -> pl.LazyFrame:
    """The parts of one table below each other. Raises InputError where they have different times."""
    times = {frame.collect_schema().get("timestamp") for frame in frames}
    if len(times) > 1:
        raise InputError(
            f"the {table} of these files have different times ({', '.join(map(str, times))}); expected files of one "
            "edition: import them one by one"
        )
    return pl.concat(frames, how="diagonal_relaxed")


def _one_unit_of_time(events: pl.LazyFrame, notes: list[str]) -> pl.LazyFrame:
    """Times since 1970 in one unit, as whole numbers if they all are.

    Seconds and milliseconds are told apart by their range; where both occur, all become milliseconds.
    """
    time = pl.col("timestamp")
    if events.collect_schema()["timestamp"] != pl.Float64:
        return events
    is_milliseconds, is_early = time >= MILLISECONDS, time < EARLIEST
    counts = events.select(
        highest=time.max(), early=is_early.sum(), milliseconds=is_milliseconds.sum(),
        seconds=time.is_between(EARLIEST, MILLISECONDS, "left").sum(),
    ).collect()  # fmt: skip
    highest, num_early, num_milliseconds, num_seconds = counts.row(0)
    if highest is not None and not EARLIEST <= highest < LATEST:
        raise InputError(f"the last timestamp is {highest:g}; expected seconds or milliseconds since 1970: {REMEDY}")
    if num_early:
        notes.append(f"events: times before 1973: {num_early:,}")
    if num_milliseconds and num_seconds:
        notes.append(f"events: times in seconds, made milliseconds as the others are: {num_seconds:,}")
        events = events.with_columns(pl.when(is_milliseconds).then(time).otherwise(time * 1000))
    is_whole = events.select((time == time.floor()).all()).collect().item()
    return events.with_columns(time.cast(pl.Int64)) if is_whole else events


def _descriptions(layouts: Sequence[Layout]) -> str:
    return "; or ".join(dict.fromkeys(_description(layout) for layout in layouts))


def _description(layout: Layout) -> str:
    if layout.header:
        return f"{layout.table} with {len(layout.header)} fields: {', '.join(layout.header)}"
    return f"{layout.table} with {', '.join(layout.lacks([]))}"
