"""The event log at the border: read, check, quarantine, put away duplicates. Nothing is dropped in silence."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import polars as pl
from pydantic import BaseModel

from ..errors import InputError
from .factorize import factorize_ids
from .history import sort_events
from .parquet import id_type, input_error_if_unreadable, require_columns, scan_parquet, time_type


class LogCounts(BaseModel, frozen=True):
    """What cleaning did to the rows of a log."""

    rows: int
    """Rows read."""
    events: int
    """Rows kept."""
    quarantined: dict[str, int] = {}
    """Rows rejected, by reason."""

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
    """A checked log, each user's events together and in order.

    log: user_id and item_id as codes (int32 rows of ``user_ids`` and ``item_ids``), row (its place in the file, UInt32)
    and time where the data is ordered; by user, time, row. user_ids, item_ids: distinct and sorted. quarantine: the
    rejected rows with a ``reason``. counts: what happened to how many rows.
    """

    log: pl.DataFrame
    user_ids: pl.Series
    item_ids: pl.Series
    quarantine: pl.DataFrame
    counts: LogCounts


def scan_events(location: str, columns: dict[str, str | None], role: str = "events") -> pl.LazyFrame:
    """The log under our names: user_id, item_id, time (where ``columns`` names one) and row, the place in the file.

    columns: our names to the log's own. Raises InputError on a missing column, an id that is no integer or string, or
    a time that can't be sorted.
    """
    frame = scan_parquet(location, role)
    names = {name: column for name, column in columns.items() if column is not None}
    require_columns(frame, list(names.values()), role, location)
    types = {
        name: (time_type if name == "time" else id_type)(frame, column, role)
        for name, column in names.items()
    }  # fmt: skip
    return frame.select(pl.col(names[name]).cast(types[name]).alias(name) for name in names).with_row_index("row")


def clean_events(events: pl.LazyFrame) -> CleanLog:
    """Quarantine rows without an id or time, and exact repeats (same user, item and time) after the first."""
    with input_error_if_unreadable("the events"):
        table = events.collect()
    names = [name for name in table.columns if name != "row"]
    lacking = {name: _is_missing(name, table.schema[name]) for name in names}
    reason = pl.coalesce(pl.when(absent).then(pl.lit(f"no {name}")) for name, absent in lacking.items())
    rejected = table.select(pl.any_horizontal(*lacking.values())).to_series()
    num_rows, quarantine = table.height, table.filter(rejected).with_columns(reason=reason)
    columns, user_ids, item_ids = _coded(table.filter(~rejected) if rejected.any() else table)
    del table  # the ids are by far the most of a log
    log = sort_events(columns)
    repeated = _repeats(log)
    if repeated.any():
        again = log.filter(repeated).with_columns(reason=pl.lit("duplicate"))
        ids = user_ids.gather(again.get_column("user_id")), item_ids.gather(again.get_column("item_id"))
        quarantine = pl.concat([quarantine, again.with_columns(*ids).select(quarantine.columns)])
        log = log.filter(~repeated)
    quarantine = quarantine.sort("row")
    reasons = dict(quarantine.get_column("reason").value_counts(sort=True).iter_rows())
    if not log.height:
        raise InputError(f"no event is left of {num_rows} after cleaning ({reasons}); check the columns' names")
    counts = LogCounts(rows=num_rows, events=log.height, quarantined=reasons)
    return CleanLog(log, user_ids, item_ids, quarantine, counts)


def _coded(log: pl.DataFrame) -> tuple[dict[str, pl.Series], pl.Series, pl.Series]:
    """Its columns with int32 codes for ids, and what they stand for: the sorted distinct ids of users and of items."""
    with ThreadPoolExecutor() as each:
        (user_ids, users), (item_ids, items) = each.map(factorize_ids, log.select("user_id", "item_id"))
    codes = {"user_id": pl.Series("user_id", users), "item_id": pl.Series("item_id", items)}
    return log.to_dict() | codes, user_ids, item_ids


def _is_missing(name: str, dtype: pl.DataType) -> pl.Expr:
    column = pl.col(name)
    return column.is_null() | column.is_nan().fill_null(True) if dtype.is_float() else column.is_null()


def _repeats(log: pl.DataFrame) -> pl.Series:
    """[n] bool: whether the same event stands above, in a log of codes that is in order.

    It stands in the same run of one user at one time, and most runs have one event.
    """
    run = ["user_id", "time"] if "time" in log.columns else ["user_id"]
    continues = log.select(pl.all_horizontal(pl.col(run) == pl.col(run).shift()).fill_null(False)).to_series()
    if not continues.any():
        return continues
    suspects = (continues | continues.shift(-1, fill_value=False)).arg_true()
    runs = (~continues).cum_sum().gather(suspects).cast(pl.Int64)
    events = (runs.to_numpy() << 32) | log.get_column("item_id").gather(suspects).to_numpy()
    repeated = pl.zeros(log.height, pl.Boolean, eager=True)
    return repeated.scatter(suspects, ~pl.Series(events).is_first_distinct())
