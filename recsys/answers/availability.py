"""From when and until when an item may be recommended: the columns ``available_from`` and ``available_until``.

What a refresh removed has True in the column ``removed_from_catalogue``: it is never available.

Shape suffixes: N catalogue positions with 0 among them.
"""

import numpy as np
import numpy.typing as npt
import polars as pl

from ..errors import InputError

FROM, UNTIL, REMOVED = "available_from", "available_until", "removed_from_catalogue"
Float64 = npt.NDArray[np.float64]


class Availability:
    """When the items of a catalogue are available.

    Args:
        items: A row per item. Its columns FROM and UNTIL are dates, datetimes (UTC unless they say otherwise) or
            numbers, seconds since 1970. A missing value is no limit. An item is available from the first moment of FROM
            and until just before UNTIL; a date in UNTIL counts to its end. REMOVED is Boolean.

    Raises:
        InputError: A column is of another type.
    """

    def __init__(self, items: pl.DataFrame) -> None:
        self._from_N = _seconds(items, FROM, -np.inf)
        self._until_N = _seconds(items, UNTIL, np.inf)
        self._changes = np.unique(np.concatenate((self._from_N, self._until_N)))
        self._latest: tuple[float, float, npt.NDArray[np.bool_]] | None = None  # from when, until when, which

    @staticmethod
    def offered(items: pl.DataFrame) -> npt.NDArray[np.bool_] | None:
        """[N] bool: which positions are still in the catalogue, whatever the time; None if all are."""
        if REMOVED not in items.columns:
            return None
        return np.concatenate(([False], ~items.get_column(REMOVED).fill_null(False).to_numpy()))

    @staticmethod
    def limits(items: pl.DataFrame) -> bool:
        """Whether a catalogue says when its items are available."""
        return any(name in items.columns for name in (FROM, UNTIL))

    def at(self, now: float) -> npt.NDArray[np.bool_]:
        """[N] bool: which positions are available. now: seconds since 1970."""
        latest = self._latest
        if latest is None or not latest[0] <= now < latest[1]:
            available_N = (self._from_N <= now) & (now < self._until_N)
            available_N[0] = False
            after = int(np.searchsorted(self._changes, now, side="right"))
            until = float(self._changes[after]) if after < len(self._changes) else np.inf
            latest = self._latest = (now, until, available_N)
        return latest[2]


def _seconds(items: pl.DataFrame, name: str, missing: float) -> Float64:
    """A column of times in seconds since 1970, with a first entry for position 0."""
    if name not in items.columns:
        return np.full(items.height + 1, missing)
    column = items.get_column(name)
    if column.dtype == pl.Date:
        days = column.cast(pl.Int32).cast(pl.Float64) + (name == UNTIL)  # a date counts to its end
        seconds = days * 86_400.0
    elif isinstance(column.dtype, pl.Datetime):
        seconds = column.cast(pl.Datetime("us", column.dtype.time_zone)).to_physical().cast(pl.Float64) / 1e6
    elif column.dtype.is_numeric():
        seconds = column.cast(pl.Float64)
    else:
        raise InputError(f"items: {name} is {column.dtype}; expected dates, datetimes or seconds since 1970")
    return np.concatenate(([missing], seconds.fill_nan(None).fill_null(missing).to_numpy()))
