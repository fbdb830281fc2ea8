"""The event log: opened, checked and cleaned. Every rejected row is kept, with its reason."""

from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import polars as pl
import polars.selectors as cs
from pydantic import BaseModel

from ..errors import InputError
from .column_types import has_blanks, id_columns, time_type, without_blanks
from .factorize import factorize_ids
from .history import sort_events
from .sources import Source, input_error_if_unreadable, named
from .tables import Table, scan_table
from .times import NUMBER, TextTime, read_times, require_clock

LOG_COLUMNS = ("user_id", "item_id", "time")


class LogCounts(BaseModel, frozen=True):
    """What cleaning did to the rows of a log."""

    rows: int
    """Rows read."""
    events: int
    """Rows that are left."""
    quarantined: dict[str, int] = {}
    """Rows rejected, by reason."""

    def __add__(self, other: "LogCounts") -> "LogCounts":
        reasons = Counter(self.quarantined) + Counter(other.quarantined)
        return LogCounts(
            rows=self.rows + other.rows, events=self.events + other.events, quarantined=dict(reasons.most_common())
        )

    def to_json(self) -> dict[str, int]:
        """One flat object: the names that manifests use."""
        quarantined = {f"quarantined: {reason}": count for reason, count in self.quarantined.items()}
        return {"rows": self.rows, "events": self.events} | quarantined

    @staticmethod
    def from_json(counts: dict[str, int]) -> "LogCounts":
        """The inverse of ``to_json``; other names are ignored."""
        quarantined = {
            name.removeprefix("quarantined: "): count
            for name, count in counts.items()
            if name.startswith("quarantined: ")
        }
        return LogCounts(rows=counts["rows"], events=counts["events"], quarantined=quarantined)


@dataclass(frozen=True)
class CleanLog:
    """A checked log, sorted by user, time and row.

    Attributes:
        log: user_id and item_id as codes (int32 rows of ``user_ids`` and ``item_ids``), row (UInt32, in the file)
            and, in ordered data, time.
        user_ids, item_ids: Distinct and sorted.
        quarantine: The rejected rows, with a ``reason``.
        counts: What happened to how many rows.
    """

    log: pl.DataFrame
    user_ids: pl.Series
    item_ids: pl.Series
    quarantine: pl.DataFrame
    counts: LogCounts


def scan_events(
    source: Source,
    columns: Mapping[str, str | None],
    role: str = "events",
    id_types: Mapping[str, pl.DataType] | None = None,
) -> pl.LazyFrame:
    """Open a log under our names: user_id, item_id, time if ``columns`` names one, and row, the row in the file.

    Args:
        source: A file, a pattern of files or a folder, or a table in memory.
        columns: The log's own names of user_id, item_id and time; and, as far as the configuration says so, the
            time_format of times that are text and the decimal sign of a text file.
        role: Names the log in errors.
        id_types: The types of user_id and item_id in a file of text, which has none of its own; not set: text.

    Raises:
        InputError: A column is missing, an id is neither integer nor string, or a time cannot be sorted.
    """
    return name_events(open_events(source, columns, role), columns, named(role, source), id_types)


def open_events(source: Source, columns: Mapping[str, str | None], role: str = "events") -> Table:
    """Open the table of a log under its own names, with the columns that ``columns`` names; see ``scan_events``."""
    return scan_table(source, role, [column for name in LOG_COLUMNS if (column := columns.get(name)) is not None])


def name_events(
    table: Table,
    columns: Mapping[str, str | None],
    role: str = "events",
    id_types: Mapping[str, pl.DataType] | None = None,
) -> pl.LazyFrame:
    """``scan_events`` for a table that is open, such as one in memory."""
    names = {name: column for name in LOG_COLUMNS if (column := columns.get(name)) is not None}
    ids = {name: column for name, column in names.items() if name != "time"}
    selected = id_columns(table.frame, ids, role, text_types=(id_types or {}) if table.is_text else None)
    dtype = None
    if "time" in names:
        dtype = time_type(table.frame, names["time"], role)
        form = columns.get("time_format")
        if dtype.is_numeric() and form not in (None, NUMBER, "%s"):
            raise InputError(
                f'{role}: {names["time"]} is {dtype}, but data.time_format is "{form}"; expected text there: store the '
                "column as text, or remove data.time_format"
            )
        time = cs.by_name(names["time"]).cast(dtype).alias("time")
        selected.append(pl.when(time.is_finite()).then(time) if dtype.is_float() else time)
    log = table.frame.select(selected)
    if dtype == pl.String:
        text = TextTime(
            "time", f"{role}: {names['time']}", columns.get("time_format"), columns.get("decimal") or ".",
            has_numbers=table.form == "csv",
        )  # fmt: skip
        with input_error_if_unreadable(role):
            log = read_times(log, text)
    return log.with_row_index("row")


def without_blank_ids(events: pl.LazyFrame) -> pl.LazyFrame:
    """A log with null for ids of text that are blank, as ``clean_events`` sees them."""
    schema = events.collect_schema()
    texts = [name for name in ("user_id", "item_id") if schema[name] == pl.String]
    return events.with_columns(without_blanks(pl.col(name)) for name in texts)


def clean_events(events: pl.LazyFrame) -> CleanLog:
    """Quarantine rows without an id or time, and repeats of an earlier event (same user, item and time).

    events: As ``scan_events`` opens them.

    Raises:
        InputError: The log cannot be read, or no event is left.
    """
    cleaned = clean_rows(events)
    require_sound_log(cleaned.counts, cleaned.log.lazy())
    return cleaned


def require_sound_log(counts: LogCounts, log: pl.LazyFrame, ends: pl.Series | None = None) -> None:
    """Raise InputError if cleaning has left no event, or times whose order is not that of time.

    Args:
        counts: Of the log.
        log: Clean.
        ends: Times with the earliest and the latest among them, if they are known.
    """
    if not counts.events:
        raise InputError(
            f"no event is left of {counts.rows} after cleaning ({counts.quarantined}); check the columns' names"
        )
    if "time" in log.collect_schema():
        require_clock(log.select("row", "time"), ends)


def clean_rows(events: pl.LazyFrame) -> CleanLog:
    """``clean_events`` for all events of some users, of whom nothing may be left."""
    with input_error_if_unreadable("the events"):
        table = events.collect()
    num_rows, names = table.height, [name for name in table.columns if name != "row"]
    is_missing = {name: _is_missing(name, table.schema[name]) for name in names}
    reason = pl.coalesce(pl.when(missing).then(pl.lit(f"no {name}")) for name, missing in is_missing.items())
    rejected = table.select(pl.any_horizontal(*is_missing.values())).to_series()
    quarantine = table.filter(rejected).with_columns(reason=reason)
    coded = _encode_ids(table.filter(~rejected) if rejected.any() else table)
    if any(has_blanks(ids) for ids in (coded.user_ids, coded.item_ids)):  # seldom, and seen at once in distinct ids
        return clean_rows(without_blank_ids(table.lazy()))
    del table  # the ids are by far the largest part of a log
    log = sort_events(coded.columns)
    repeated = _repeats(log)
    if repeated.any():
        repeats = log.filter(repeated).with_columns(reason=pl.lit("duplicate"))
        user_ids = coded.user_ids.gather(repeats.get_column("user_id"))
        item_ids = coded.item_ids.gather(repeats.get_column("item_id"))
        quarantine = pl.concat([quarantine, repeats.with_columns(user_ids, item_ids).select(quarantine.columns)])
        log = log.filter(~repeated)
    quarantine = quarantine.sort("row")
    counts = LogCounts(rows=num_rows, events=log.height, quarantined=count_reasons(quarantine))
    return CleanLog(log, coded.user_ids, coded.item_ids, quarantine, counts)


def count_reasons(quarantine: pl.DataFrame) -> dict[str, int]:
    """How many rows were rejected, by reason, the most frequent first."""
    return dict(quarantine.get_column("reason").value_counts(sort=True).iter_rows())


@dataclass(frozen=True)
class _CodedLog:
    """The columns of a log with int32 codes for ids, and the sorted distinct ids that they stand for."""

    columns: dict[str, pl.Series]
    user_ids: pl.Series
    item_ids: pl.Series


def _encode_ids(log: pl.DataFrame) -> _CodedLog:
    with ThreadPoolExecutor() as threads:
        (user_ids, user_codes), (item_ids, item_codes) = threads.map(factorize_ids, log.select("user_id", "item_id"))
    codes = {"user_id": pl.Series("user_id", user_codes), "item_id": pl.Series("item_id", item_codes)}
    return _CodedLog(log.to_dict() | codes, user_ids, item_ids)


def _is_missing(name: str, dtype: pl.DataType) -> pl.Expr:
    column = pl.col(name)
    return column.is_null() | column.is_nan().fill_null(True) if dtype.is_float() else column.is_null()


def _repeats(log: pl.DataFrame) -> pl.Series:
    """[num_events] bool: whether an earlier row of a sorted log of codes holds the same event.

    Equal events are in the same run of one user at one time, and most runs have one event. So only the events of longer
    runs are compared, each as one int64: its run's number and its item's code.
    """
    run = ["user_id", "time"] if "time" in log.columns else ["user_id"]
    continues = log.select(pl.all_horizontal(pl.col(run) == pl.col(run).shift()).fill_null(False)).to_series()
    if not continues.any():
        return continues
    suspects = (continues | continues.shift(-1, fill_value=False)).arg_true()
    run_numbers = (~continues).cum_sum().gather(suspects).cast(pl.Int64)
    events = (run_numbers.to_numpy() << 32) | log.get_column("item_id").gather(suspects).to_numpy()
    repeated = pl.zeros(log.height, pl.Boolean, eager=True)
    return repeated.scatter(suspects, ~pl.Series(events).is_first_distinct())
