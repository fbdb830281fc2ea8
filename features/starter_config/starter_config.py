"""Look at the user's files, and write a commented configuration that fits them: a log with metadata, or pairs of texts.

Another kind of input would be recognised here, and have a module of its own beside pairs.py and documents.py.
"""

import os
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

from recsys.config import parse_config
from recsys.errors import InputError

from .columns import Column, look_at
from .feature_kinds import SuggestedFeature, suggest_feature
from .pairs import find_pairs
from .roles import Log, Metadata, NamedColumns, find_log, find_metadata
from .splits import MIN_USER_EVENTS, SuggestedSplit, suggest_split
from .suggestion import StarterConfig, in_comment, model_name, quoted
from .text_config import suggest_for_pairs


def suggest_config(paths: Sequence[Path], out: Path, named: NamedColumns) -> StarterConfig:
    """Look at a log and, optionally, at metadata of its items and users, and suggest a configuration.

    Args:
        paths: Files of any form that ``data.events`` takes, in any order.
        out: Where the configuration will lie; the paths inside it are relative to its folder.
        named: Columns that the user named.

    Raises:
        InputError: A file cannot be read, or the users or items of the log cannot be told.
    """
    if not paths:
        raise InputError("no file; expected an event log and, if there are any, tables of items and users")
    files = [look_at(path) for path in dict.fromkeys(paths)]
    pairs = find_pairs(files) if named == NamedColumns() else None
    if pairs is not None:
        return suggest_for_pairs(pairs, out)
    log = find_log(files, named)
    metadata, unused = find_metadata(log, files)
    features = {
        table.role: [
            suggest_feature(column) for column in table.file.columns.values() if column.name != table.id_column
        ]
        for table in metadata
    }
    features = {
        role: _without_points(suggested, metadata, _decimal(log, metadata)) for role, suggested in features.items()
    }
    split = suggest_split(log)
    undecided = _undecided(log)
    toml = "\n".join(_toml(log, metadata, features, split, out)) + "\n"
    parse_config(tomllib.loads(toml), str(out))  # a mistake of ours would be found here, rather than by the user
    found = [*_found(log, metadata, features), f"split: {split.kind}: {split.reason}", *unused]
    return StarterConfig(toml, [in_comment(line) for line in found], undecided)


def _decimal(log: Log, metadata: Sequence[Metadata]) -> str:
    columns = [column for table in metadata for column in table.file.columns.values()]
    columns += [log.file.columns[log.time]] if log.time else []
    return "," if any(column.is_text and column.is_number and column.has_decimal_comma for column in columns) else "."


def _without_points(
    features: list[SuggestedFeature], metadata: Sequence[Metadata], decimal: str
) -> list[SuggestedFeature]:
    """Leave out numbers with a decimal point where others have a comma: a configuration has one sign for all."""
    columns = {column.name: column for table in metadata for column in table.file.columns.values()}
    reason = "its numbers have a decimal point, where others have a comma: write all alike"
    return [
        SuggestedFeature(feature.name, None, reason)
        if feature.kind == "numeric" and decimal == "," and columns[feature.name].is_text
        and columns[feature.name].comma_numbers < columns[feature.name].present
        else feature
        for feature in features
    ]  # fmt: skip


def _undecided(log: Log) -> list[str]:
    if log.time is None:
        return []
    column = log.file.columns[log.time]
    if column.clock is None:
        if column.is_number:
            return []
        return [
            f"no common form of times reads all values of {log.time}, such as {column.example!r}: "
            "set data.time_format, or remove data.time if it is none"
        ]
    if len(column.clock.formats) > 1:
        return [
            f"{log.time} can be read as {' or as '.join(column.clock.formats)}, such as {column.clock.example!r}: "
            "remove the # before the right time_format"
        ]
    return []


def _found(log: Log, metadata: Sequence[Metadata], features: dict[str, list[SuggestedFeature]]) -> Iterator[str]:
    """What was found, for the terminal."""
    yield f"events: {log.file.path.name}: {log.file.rows:,} rows"
    for role in ("user_id", "item_id"):
        column = log.file.columns[getattr(log, role)]
        yield f"  {role}: {column.name}, {column.distinct:,} values ({log.reasons.get(role, 'by its name')})"
    yield f"  time: {log.time}, {_of_time(log.file.columns[log.time])}" if log.time else "  time: none was found"
    unused = [name for name in log.file.columns if name not in (log.user_id, log.item_id, log.time)]
    if unused:
        names = ", ".join(name or "a column without a name" for name in unused)
        yield f"  not used: {names} (an event counts as one, whatever was paid or rated)"
    for name in unused:
        if (low := log.file.columns[name].low) is not None and low < 0:
            yield f"  {name} is below zero in some rows: if these are returns, remove them from the log"
    for table in metadata:
        yield f"{table.role}: {table.file.path.name}: {table.file.rows:,} rows, {_coverage(table)}"
        for feature in features[table.role]:
            yield f"  {feature.name}: {feature.kind or 'not used'}: {feature.reason}"


def _coverage(table: Metadata) -> str:
    return f"{table.known:,} of the log's {table.ids:,} {table.role}"


def _of_time(column: Column) -> str:
    clock = column.clock
    if clock is None:
        return "a position or another number" if column.is_number else "of no known form"
    span = f"{clock.first:%Y-%m-%d %H:%M} to {clock.last:%Y-%m-%d %H:%M}"
    if len(clock.formats) > 1:
        return f"written in one of {len(clock.formats)} forms"
    if clock.formats:
        return f"{span}, written as {clock.formats[0]} (the only common form that reads all values)"
    return f"{span}, {clock.unit} since 1970" if clock.unit else span


def _toml(
    log: Log,
    metadata: Sequence[Metadata],
    features: dict[str, list[SuggestedFeature]],
    split: SuggestedSplit,
    out: Path,
) -> Iterator[str]:
    names = ", ".join(str(path) for path in [log.file.path, *(table.file.path for table in metadata)])
    yield f"# Suggested by `recsys init` from {in_comment(names)}. `recsys config` prints every key and what it means."
    yield "[data]"
    yield f"events = {quoted(_relative(log.file.path, out))}"
    for role in ("user_id", "item_id"):
        column = log.file.columns[getattr(log, role)]
        yield f"{role} = {quoted(column.name)}  # {column.distinct:,} values"
    yield from _toml_of_time(log)
    if log.file.table.is_text and any(not table.file.columns[table.id_column].is_text for table in metadata):
        yield f'id_type = "{log.id_type}"  # as they are in the metadata'
    if (decimal := _decimal(log, metadata)) != ".":
        yield f'decimal = "{decimal}"'
    for table in metadata:
        yield f"{table.role} = {quoted(_relative(table.file.path, out))}  # {_coverage(table)}"
    if title := _title(metadata, features):
        yield f"title = {quoted(title)}  # what reports show in place of item ids"
    yield f"min_user_events = {MIN_USER_EVENTS}  # users with fewer are trained on, but not tested"
    for table in metadata:
        for feature in features[table.role]:
            yield from _toml_of_feature(table.role, feature)
    yield ""
    yield from split.toml()
    yield ""
    yield "[registry]"
    yield f"name = {quoted(model_name(log.file.path))}"


def _title(metadata: Sequence[Metadata], features: dict[str, list[SuggestedFeature]]) -> str | None:
    """The column of the items that names them, if it is not called "title": the first text."""
    names = [column for table in metadata if table.role == "items" for column in table.file.columns]
    texts = [feature.name for feature in features.get("items", []) if feature.kind == "text"]
    return texts[0] if texts and "title" not in names else None


def _toml_of_time(log: Log) -> Iterator[str]:
    if log.time is None:
        yield "# no column of times was found: the log is treated as unordered"
        return
    column = log.file.columns[log.time]
    yield f"time = {quoted(log.time)}  # {_of_time(column)}"
    if column.clock and len(column.clock.formats) == 1:
        yield f"time_format = {quoted(column.clock.formats[0])}"
    elif column.clock and column.clock.formats:
        yield f"# {in_comment(column.clock.example)} and all others can be read in each of these ways:"
        yield from (f"# time_format = {quoted(form)}" for form in column.clock.formats)
    elif column.is_number and column.is_text and log.file.table.form != "csv":
        yield 'time_format = "number"'
    elif column.clock is None and not column.is_number:
        yield f'# time_format = ""  # how {in_comment(column.example)} is written, as in "%Y-%m-%d %H:%M:%S"'


def _toml_of_feature(role: str, feature: SuggestedFeature) -> Iterator[str]:
    if feature.kind is None:
        yield from ("", f"# not used: {in_comment(feature.name)}: {in_comment(feature.reason)}")
        return
    yield from ("", f"[[features.{role[:-1]}]]  # {in_comment(feature.reason)}")
    yield f"name = {quoted(feature.name)}"
    yield f'kind = "{feature.kind}"'


def _relative(path: Path, out: Path) -> str:
    """The path from the folder of the configuration; whole, if they have nothing in common."""
    target, folder = path.resolve(), out.resolve().parent
    return str(target) if len(Path(os.path.commonpath([target, folder])).parts) < 2 else os.path.relpath(target, folder)
