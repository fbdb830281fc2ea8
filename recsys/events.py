"""The event log at the border: read, check, quarantine, put away duplicates. Nothing is dropped in silence."""

from dataclasses import dataclass

import polars as pl

from .schema import id_type, readable, require_columns, scan, time_type


@dataclass(frozen=True)
class CleanLog:
    """A checked log.

    log: user_id, item_id, row (its place in the file, UInt32) and time where the data is ordered.
    quarantine: the rejected rows with a ``reason``. counts: what happened to how many rows.
    """

    log: pl.DataFrame
    quarantine: pl.DataFrame
    counts: dict[str, int]


def scan_events(location: str, columns: dict[str, str | None], role: str = "events") -> pl.LazyFrame:
    """The log under our names: user_id, item_id, time (where ``columns`` names one) and row, the place in the file.

    columns: our names to the log's own. Raises ValueError on a missing column, an id that is no integer or string, or
    a time that can't be sorted.
    """
    frame = scan(location, role)
    names = {name: column for name, column in columns.items() if column is not None}
    require_columns(frame, list(names.values()), role, location)
    types = {
        name: (time_type if name == "time" else id_type)(frame, column, role)
        for name, column in names.items()
    }  # fmt: skip
    return frame.select(pl.col(names[name]).cast(types[name]).alias(name) for name in names).with_row_index("row")


def clean(events: pl.LazyFrame) -> CleanLog:
    """Quarantine rows without an id or time, and exact repeats (same user, item and time) after the first."""
    with readable("the events"):
        table = events.collect()
    names = [name for name in table.columns if name != "row"]
    lacking = {name: _is_missing(table.get_column(name)) for name in names}
    reason = pl.coalesce(pl.when(absent).then(pl.lit(f"no {name}")) for name, absent in lacking.items())
    rejected = table.select(pl.any_horizontal(*lacking.values())).to_series()
    complete = table.filter(~rejected) if rejected.any() else table
    repeated = _repeats(complete.select(names))
    log = complete.filter(~repeated) if repeated.any() else complete
    quarantine = pl.concat([
        table.with_columns(reason=reason).filter(rejected),
        complete.filter(repeated).with_columns(reason=pl.lit("duplicate")),
    ]).sort("row")  # fmt: skip
    counts = {"rows": table.height, "events": log.height}
    counts |= {
        f"quarantined: {key}": count for key, count in quarantine.get_column("reason").value_counts().iter_rows()
    }
    if not log.height:
        raise ValueError(f"no event is left of {table.height} after cleaning ({counts}); check the columns' names")
    return CleanLog(log, quarantine, counts)


def _is_missing(column: pl.Series) -> pl.Series:
    return column.is_null() | column.is_nan().fill_null(True) if column.dtype.is_float() else column.is_null()


def _repeats(rows: pl.DataFrame) -> pl.Series:
    """[n] bool: whether the same row stands above. Only rows whose hashes meet are compared, which spares memory."""
    hashes = rows.hash_rows()
    repeated = pl.zeros(rows.height, pl.Boolean, eager=True)
    if hashes.n_unique() == rows.height:
        return repeated
    suspects = hashes.is_duplicated()
    first = rows.filter(suspects).select(pl.struct(pl.all()).is_first_distinct()).to_series()
    return repeated.scatter(suspects.arg_true(), ~first)
