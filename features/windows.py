"""The windows of a log: training, validation and test, cut at the same times for all users."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from recsys.config import SplitConfig
from recsys.errors import InputError

from .order_statistic import Columns, Ends, values_at_ranks

TRAINING, VALIDATION, TEST = 0, 1, 2


@dataclass(frozen=True)
class Cuts:
    """Where the windows of a temporal split start.

    Attributes:
        val_start, test_start: As columns of one row.
        first, last: The earliest and the latest time of the log.
    """

    val_start: pl.Series
    test_start: pl.Series
    first: Any
    last: Any


@dataclass(frozen=True)
class UserClock:
    """How the times of some users lie.

    Attributes:
        first: The earliest time, as a column of one row; of none if there is no event.
        num_events: How many events there are.
        num_users, num_at_first: How many users there are, and whose first event is at that time.
        has_equal_times: Whether a user has two events at the same time.
    """

    first: pl.Series
    num_events: int
    num_users: int
    num_at_first: int
    has_equal_times: bool

    @staticmethod
    def of(log: pl.DataFrame) -> "UserClock | None":
        """log: Sorted by user and time. The result is None where it has no time."""
        if "time" not in log.columns:
            return None
        users, times = log.get_column("user_id"), log.get_column("time")
        continues = (users == users.shift()).fill_null(False)
        first_times = times.filter(~continues).to_frame()
        at_first = first_times.filter(pl.col("time") == pl.col("time").min()).get_column("time")
        has_equal_times = bool((continues & (times == times.shift())).any())
        return UserClock(at_first.head(1), log.height, first_times.height, len(at_first), has_equal_times)


def find_cuts(split: SplitConfig, times: Columns, ends: pl.Series | None, clocks: Sequence[UserClock]) -> Cuts | None:
    """Where the windows of a temporal split start; None for any other.

    Args:
        split: Its settings.
        times: Of the clean log, shard by shard.
        ends: Times with the earliest and the latest among them; None if the log has no time.
        clocks: Of all its users.

    Raises:
        InputError: The split has no clock that all users share, or cuts that do not fit it.
    """
    if split.kind != "temporal":
        return None
    if ends is None:
        raise InputError('split "temporal" needs a time column; found none: set data.time, or choose another split')
    _refuse_per_user_clock(clocks)
    val_start, test_start = _starts(split, times, ends, sum(clock.num_events for clock in clocks))
    if not (val_start < test_start).item():
        raise InputError(
            f"split.val_start is {val_start.item()} and split.test_start is {test_start.item()}; expected the first to "
            "come before the second: move one of them"
        )
    return Cuts(val_start, test_start, ends.min(), ends.max())


def assign_windows(cuts: Cuts, log: pl.DataFrame) -> pl.DataFrame:
    """Add the column ``window`` (UInt8) to a log: TRAINING, VALIDATION from val_start on, TEST from test_start on."""
    times = log.get_column("time")
    return log.with_columns(window=(times >= cuts.val_start).cast(pl.UInt8) + (times >= cuts.test_start))


def _starts(split: SplitConfig, times: Columns, ends: pl.Series, num_events: int) -> list[pl.Series]:
    """The times at which the validation and the test window start, as columns of one row that compare with ``times``.

    Both shares are looked up together: the log may be larger than memory.
    """
    settings: dict[str, str | int | float | None] = {"val_start": split.val_start, "test_start": split.test_start}
    starts = {name: _start(name, value, ends.dtype) for name, value in settings.items()}
    ranks = {name: int(num_events * share / 100) for name, share in starts.items() if isinstance(share, float)}
    of_share = {}
    if ranks:
        numbers = Ends.of([ends])
        known = Ends(numbers.low, numbers.high, num_events if numbers.count else 0)
        of_share = dict(zip(ranks, values_at_ranks(times, list(ranks.values()), known), strict=True))
    return [start if isinstance(start, pl.Series) else of_share[name] for name, start in starts.items()]


def _start(name: str, value: str | int | float | None, dtype: pl.DataType) -> pl.Series | float:
    """The time at which a window starts, as a column of one row; or the percentage of the events before it.

    name: The key in the config. value: A time, or a share of the events such as "70%".
    """
    problem = f'split.{name} is {value!r}; expected a value of the time column ({dtype}), or a share as "70%"'
    try:
        if isinstance(value, str) and value.endswith("%"):
            percent = float(value[:-1])
            if 0 < percent < 100:
                return percent
        elif dtype.is_temporal():
            return _moment(str(value), dtype)
        elif isinstance(value, str):
            return pl.Series([value]).cast(dtype)
        elif value is not None and dtype.is_numeric():
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


def _refuse_per_user_clock(clocks: Sequence[UserClock]) -> None:
    """Raise InputError if the time is a position within each user, which orders events but is no clock.

    Such a column starts at the same value for most users, and no user has a value twice.
    """
    firsts = pl.concat([clock.first for clock in clocks])
    if not (firsts.dtype.is_numeric() or firsts.dtype == pl.Duration):
        return
    num_users = sum(clock.num_users for clock in clocks)
    num_at_first = sum(clock.num_at_first for clock in clocks if (clock.first == firsts.min()).any())
    if num_users < 2 or num_at_first <= num_users / 2 or any(clock.has_equal_times for clock in clocks):
        return
    raise InputError(
        f'split "temporal" needs one clock for all users, but {num_at_first} of {num_users} users start at the '
        'same time: the column is a position within each user; use split.kind = "leave_one_out"'
    )
