"""The windows of a log: training, validation and test, cut at the same times for all users."""

from datetime import datetime

import polars as pl

from recsys.config import SplitConfig
from recsys.errors import InputError

TRAINING, VALIDATION, TEST = 0, 1, 2


def assign_windows(split: SplitConfig, log: pl.DataFrame) -> pl.DataFrame:
    """Add the column ``window`` (UInt8) to a log.

    Returns:
        In a temporal split TRAINING before val_start, VALIDATION before test_start, TEST from then on; in any other
        split TRAINING everywhere.

    Raises:
        InputError: A temporal split has no clock that all users share, or cuts that do not fit it.
    """
    if split.kind != "temporal":
        return log.with_columns(window=pl.lit(TRAINING, pl.UInt8))
    if "time" not in log.columns:
        raise InputError('split "temporal" needs a time column; found none: set data.time, or choose another split')
    _refuse_per_user_clock(log)
    times = log.get_column("time")
    val_start, test_start = (_cut(name, getattr(split, name), times) for name in ("val_start", "test_start"))
    if not (val_start < test_start).item():
        raise InputError(
            f"split.val_start is {val_start.item()} and split.test_start is {test_start.item()}; expected the first to "
            "come before the second: move one of them"
        )
    return log.with_columns(window=(times >= val_start).cast(pl.UInt8) + (times >= test_start))


def _cut(name: str, value: str | int | float | None, times: pl.Series) -> pl.Series:
    """The time at which a window starts, as a column of one row in a type that compares with ``times``.

    name: The key in the config. value: A time, or a share of the events such as "70%".
    """
    problem = f'split.{name} is {value!r}; expected a value of the time column ({times.dtype}), or a share as "70%"'
    try:
        if isinstance(value, str) and value.endswith("%"):
            percent = float(value[:-1])
            if 0 < percent < 100:
                return times.sort().slice(int(len(times) * percent / 100), 1)
        elif times.dtype.is_temporal():
            return _moment(str(value), times.dtype)
        elif isinstance(value, str):
            return pl.Series([value]).cast(times.dtype)
        elif value is not None and times.dtype.is_numeric():
            return pl.Series([value])
    except (ValueError, pl.exceptions.PolarsError) as error:
        raise InputError(problem) from error
    raise InputError(problem)


def _moment(text: str, dtype: pl.DataType) -> pl.Series:
    """An ISO date or time in a temporal type; without a zone it is in the zone of that type."""
    moment = pl.Series([datetime.fromisoformat(text)])
    zone = getattr(dtype, "time_zone", None)
    if zone and not moment.dtype.time_zone:  # type: ignore[attr-defined]  # it is a Datetime
        moment = moment.dt.replace_time_zone(zone)
    return moment.cast(dtype)


def _refuse_per_user_clock(log: pl.DataFrame) -> None:
    """Raise InputError if the time is a position within each user, which orders events but is no clock.

    Such a column starts at the same value for most users, and no user has a value twice.
    """
    if not (log.schema["time"].is_numeric() or log.schema["time"] == pl.Duration):
        return
    first_times = log.group_by("user_id").agg(pl.col("time").min()).get_column("time")
    num_users, num_at_first = len(first_times), int((first_times == first_times.min()).sum())
    if num_users < 2 or num_at_first <= num_users / 2:
        return
    if log.select(pl.struct("user_id", "time").n_unique()).item() == log.height:
        raise InputError(
            f'split "temporal" needs one clock for all users, but {num_at_first} of {num_users} users start at the '
            'same time: the column is a position within each user; use split.kind = "leave_one_out"'
        )
