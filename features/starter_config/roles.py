"""Which file is the log and which are metadata, and which columns are the users, the items and the times."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

import polars as pl

from recsys.errors import InputError

from .columns import Column, LookedAt
from .names import ITEM, POSITION, TIME, USER, likeness

LIKELY = (2, -1_000)  # a likeness from which on a name speaks for itself
MOSTLY = 0.9  # of the rows of a table of metadata, which are of different ids
SHARED = 0.5  # of the ids of a log, which a table of their metadata has at least


@dataclass(frozen=True)
class NamedColumns:
    """The columns that the user named; None for those to be found."""

    user_id: str | None = None
    item_id: str | None = None
    time: str | None = None


@dataclass(frozen=True)
class Log:
    """The file that is the log, its columns, and why each was taken. time: None if there is none."""

    file: LookedAt
    user_id: str
    item_id: str
    time: str | None
    reasons: dict[str, str]

    @property
    def id_type(self) -> str:
        """What its ids can be: "integer" if all are, else "text"."""
        ids = [self.file.columns[name] for name in (self.user_id, self.item_id)]
        return "integer" if all(column.integers == column.present for column in ids) else "text"


@dataclass(frozen=True)
class Metadata:
    """A file that describes items or users. role: "items" or "users". known, ids: how many ids of the log it has."""

    file: LookedAt
    role: str
    id_column: str
    known: int
    ids: int


def find_log(files: Sequence[LookedAt], named: NamedColumns) -> Log:
    """Find the log and its columns.

    Raises:
        InputError: No file has a column of users and one of items that can be told by its name, by its values or by
            those that it shares with another file; or a named column does not exist.
    """
    for first, second in combinations(files, 2):
        if set(first.columns) == set(second.columns):
            raise InputError(
                f"{first.path} and {second.path} have the same columns; expected one log: if they are its parts, name "
                "their folder, or a pattern in quotes"
            )
    logs, problem = [], None
    for file in sorted(files, key=lambda file: -file.rows):
        try:
            logs.append(_as_log(file, [other for other in files if other is not file], named))
        except InputError as error:
            problem = problem or error  # of the largest file, which is the log more often than not
    if problem and not logs:
        raise problem
    return logs[0]


def _as_log(file: LookedAt, others: Sequence[LookedAt], named: NamedColumns) -> Log:
    for flag, name in (("--user-id", named.user_id), ("--item-id", named.item_id), ("--time", named.time)):
        if name is not None and name not in file.columns:
            raise InputError(f"{file.path} has no column {name!r}; found {', '.join(file.columns)}: correct {flag}")
    reasons: dict[str, str] = {}
    time = named.time or _find_time(file, {named.user_id, named.item_id})
    taken = {time, named.user_id, named.item_id}
    ids = {"user_id": named.user_id, "item_id": named.item_id}
    for role, vocabulary in (("user_id", USER), ("item_id", ITEM)):
        if ids[role] is None:
            ids[role] = _by_name(file, vocabulary, taken, is_log=True)
            taken.add(ids[role])
        else:
            reasons[role] = "named by you"
    for find in (_by_description, _by_elimination):
        for role in ids:
            if ids[role] is None and (column := find(file, others, taken, role)):
                ids[role] = column
                reasons[role] = "by its values"
                taken.add(column)
    _require_ids(file, ids)
    user_id, item_id = (str(ids[role]) for role in ("user_id", "item_id"))
    if user_id == item_id:
        raise InputError(f"{file.path}: users and items are both {user_id!r}; expected two columns: correct the flags")
    return Log(file, user_id, item_id, time, reasons)


def _by_name(file: LookedAt, vocabulary: tuple[str, ...], taken: set[str | None], *, is_log: bool) -> str | None:
    """The column whose name is most like a vocabulary; in a log, its values repeat."""
    candidates = {
        name: likeness(name, vocabulary)
        for name, column in file.columns.items()
        if name not in taken and column.may_be_id and not (is_log and column.is_unique and column.rows > 1)
    }
    likely = [name for name, like in candidates.items() if like >= LIKELY]
    return max(likely, key=lambda name: candidates[name]) if likely else None


def _repeated(file: LookedAt, taken: set[str | None]) -> list[Column]:
    """The columns of a log that may be ids, and that are not taken."""
    return [
        column
        for name, column in file.columns.items()
        if name not in taken and column.may_be_id and not column.is_unique and column.distinct > 1
        and not (column.is_number and column.clock)
    ]  # fmt: skip


def _by_description(file: LookedAt, others: Sequence[LookedAt], taken: set[str | None], role: str) -> str | None:
    """The only column whose values another file describes, which is not called after the other role."""
    described = {
        column.name
        for column in _repeated(file, taken)
        for other in others
        if _role_of(other) in (role, None) and _described(file, column, other)
    }
    return described.pop() if len(described) == 1 else None


def _by_elimination(file: LookedAt, others: Sequence[LookedAt], taken: set[str | None], role: str) -> str | None:
    """The only column that is left."""
    left = _repeated(file, taken)
    return left[0].name if len(left) == 1 else None


def _require_ids(file: LookedAt, ids: dict[str, str | None]) -> None:
    """Raise InputError if the users or the items are not known."""
    missing = [role for role, column in ids.items() if column is None]
    if missing:
        flags = " and ".join(f"--{role.replace('_', '-')}" for role in missing)
        what = " or ".join(f"{role.removesuffix('_id')}s" for role in missing)
        columns = ", ".join(f"{name} ({column.distinct:,} values)" for name, column in file.columns.items())
        raise InputError(
            f"{file.path}: no column is known to hold the {what}, whose ids repeat; found {columns} in "
            f"{file.rows:,} rows: name it with {flags}"
        )


def _described(file: LookedAt, column: Column, other: LookedAt) -> str | None:
    """The unique column of another file that has most of the values of a column."""
    for name, candidate in other.columns.items():
        if candidate.is_unique and candidate.may_be_id:
            known = num_shared(file.distinct(column.name), other.distinct(name))
            if known >= SHARED * column.distinct:
                return name
    return None


def _role_of(file: LookedAt) -> str | None:
    """Whether a file is called after users or items."""
    stem = file.path.name.split(".")[0]
    likes = {"user_id": likeness(stem, USER), "item_id": likeness(stem, ITEM)}
    best = max(likes, key=lambda role: likes[role])
    return best if likes[best][0] else None


def num_shared(first: pl.LazyFrame, second: pl.LazyFrame) -> int:
    """How many values two columns of distinct values share."""
    return int(first.join(second, on="value", how="semi").select(pl.len()).collect().item())


def _find_time(file: LookedAt, taken: Iterable[str | None]) -> str | None:
    """The column that orders the events: a clock by its values, best by its name too; else a position by its name."""
    left = {name: column for name, column in file.columns.items() if name not in set(taken)}
    likes = {name: likeness(name, TIME) for name in left}
    clocks = [
        name
        for name, column in left.items()
        if column.clock and (not column.is_number or likes[name][0] or not _is_like_an_id(name))
    ]
    if clocks:
        return max(clocks, key=lambda name: likes[name])
    readable = [name for name in left if left[name].is_text or left[name].is_number]
    named = [name for name in readable if likes[name] >= LIKELY and left[name].present]
    positions = [name for name in left if likeness(name, POSITION) >= LIKELY and left[name].is_number]
    return next(iter([*named, *positions]), None)


def _is_like_an_id(name: str) -> bool:
    return max(likeness(name, USER), likeness(name, ITEM))[0] > 0


def find_metadata(log: Log, files: Sequence[LookedAt]) -> tuple[list[Metadata], list[str]]:
    """Find the files that describe the items or the users of a log.

    Returns:
        The metadata, and why other files are not used.
    """
    best: dict[str, Metadata] = {}
    unused = {}
    for file in files:
        if file is log.file:
            continue
        metadata = _as_metadata(log, file)
        if isinstance(metadata, str):
            unused[file.path] = metadata
            continue
        rival = best.get(metadata.role)
        better, worse = (metadata, rival) if rival is None or metadata.known > rival.known else (rival, metadata)
        best[metadata.role] = better
        if worse is not None:
            unused[worse.file.path] = f"{better.file.path.name} describes more of the {worse.role}; join the two"
    return list(best.values()), [f"{path.name} is not used: {reason}" for path, reason in unused.items()]


def _as_metadata(log: Log, file: LookedAt) -> Metadata | str:
    """What a file describes, or why it is not used."""
    if set(log.file.columns) <= set(file.columns):
        return "it has the columns of the log; if it is a part of it, name their folder, or a pattern in quotes"
    if log.user_id in file.columns and log.item_id in file.columns:
        return "it has users and items, as the log has, and there is one log"
    ids = {"items": log.item_id, "users": log.user_id}
    for role, name in ids.items():
        if name in file.columns:
            column = file.columns[name]
            if column.distinct < MOSTLY * column.present:
                return f"it has {column.present:,} rows for {column.distinct:,} {role}; expected one row for each"
            known, num_ids = num_shared(log.file.distinct(name), file.distinct(name)), log.file.columns[name].distinct
            if known == 0:
                return f"it has none of the {num_ids:,} values that {name} has in the log"
            if log.file.table.is_text and not column.is_text and log.id_type == "text":
                return f"its {name} are numbers, and the log's ids are not all so; write them as text"
            return Metadata(file, role, name, known, num_ids)
    for role, name in ids.items():
        other = _described(log.file, log.file.columns[name], file)
        if other is not None:
            return (
                f"its column {other} has the {role} of the log, where they are called {name}, and a configuration has "
                f"one name for both: rename {other} to {name}"
            )
    return f"no column of it is called {log.item_id} or {log.user_id}, or has their values"
