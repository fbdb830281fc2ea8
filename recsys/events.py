"""The event log at the border: read, check, quarantine, put away duplicates. Nothing is dropped in silence."""

from dataclasses import dataclass

import polars as pl

from .schema import id_type, require_columns, scan


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

    columns: our names to the log's own. Raises ValueError on a missing column or an id that is no integer or string.
    """
    frame = scan(location, role)
    names = {name: column for name, column in columns.items() if column is not None}
    require_columns(frame, list(names.values()), role, location)
    types = {name: id_type(frame, names[name], role) for name in ("user_id", "item_id")}
    ids = [pl.col(names[name]).cast(dtype).alias(name) for name, dtype in types.items()]
    time = [pl.col(names["time"]).alias("time")] if "time" in names else []
    return frame.select(*ids, *time).with_row_index("row")


def clean(events: pl.LazyFrame) -> CleanLog:
    """Quarantine rows without an id or time, and exact repeats (same user, item and time) after the first."""
    table = events.collect()
    names = [name for name in table.columns if name != "row"]
    reason = pl.coalesce(
        *(pl.when(pl.col(name).is_null() | _is_nan(table, name)).then(pl.lit(f"no {name}")) for name in names),
        pl.when(~pl.struct(names).is_first_distinct()).then(pl.lit("duplicate")),
    )
    if table.select(pl.any_horizontal(pl.col(names).is_null().any())).item() or _has_repeats(table, names):
        marked = table.with_columns(reason=reason)
    else:
        marked = table.with_columns(reason=pl.lit(None, pl.String))
    quarantine = marked.filter(pl.col("reason").is_not_null())
    log = marked.filter(pl.col("reason").is_null()).drop("reason")
    counts = {"rows": table.height, "events": log.height}
    counts |= {
        f"quarantined: {key}": count for key, count in quarantine.get_column("reason").value_counts().iter_rows()
    }
    if not log.height:
        raise ValueError(f"no event is left of {table.height} after cleaning ({counts}); check the columns' names")
    return CleanLog(log, quarantine, counts)


def _is_nan(table: pl.DataFrame, name: str) -> pl.Expr:
    return pl.col(name).is_nan() if table.schema[name].is_float() else pl.lit(False)


def _has_repeats(table: pl.DataFrame, names: list[str]) -> bool:
    return int(table.select(pl.struct(names).n_unique()).item()) < table.height
