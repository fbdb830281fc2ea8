"""Times that are stored as text, read as moments: what sorts as text is seldom in the order of time.

Text like 2011-01-14 09:05 (ISO 8601) is read as it is. Other text needs ``data.time_format``, so that 3/4/2011 is never
guessed to be in March or in April.
"""

from dataclasses import dataclass

import polars as pl

from ..errors import InputError
from .column_types import INTEGER, NUMERIC, TimeUnit, with_decimal_points

NUMBER = "number"  # the format of times that are numbers, stored as text
FEW = 0.05  # the largest share of values that may be no times, such as "N/A": these events are quarantined
_ISO = r"^(\d{4}-\d{2}-\d{2})(?:[Tt ](\d{2}:\d{2})(?:(:\d{2})(?:[.,](\d+))?)?)? ?([Zz]|[+-]\d{2}(?::?\d{2})?)?$"
_DATES = (
    "%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d-%m-%Y", "%m-%d-%Y", "%Y/%m/%d", "%Y.%m.%d", "%d/%m/%y", "%m/%d/%y",
    "%d.%m.%y", "%d-%m-%y", "%m-%d-%y", "%d %b %Y", "%d-%b-%Y", "%d-%b-%y", "%b %d, %Y", "%d %b, %Y",
    "%a, %d %b %Y", "%a %b %d %Y", "%Y%m%d", "%d%m%Y", "%m%d%Y", "%Y-%m-%d",
)  # fmt: skip
_CLOCKS = (
    "", " %H:%M", " %H:%M:%S", " %H:%M:%S%.f", " %I:%M %p", " %I:%M:%S %p", " %I:%M%p", ", %H:%M", ", %H:%M:%S",
    ", %I:%M %p", ", %I:%M:%S %p", "T%H:%M:%S", "T%H%M%S", "T%H%M%SZ", "%H%M%S", " %H:%M:%S %z", " %H:%M %z",
    " %H:%M:%S UTC", " %H:%M:%S GMT",
)  # fmt: skip
_SAMPLE = 1_000


@dataclass(frozen=True)
class TextTime:
    """A column of text that holds times.

    Attributes:
        name: Of the column in the table.
        label: Names it in errors.
        form: How times are written (``data.time_format``); None for ISO 8601.
        decimal: The decimal sign of numbers.
        has_numbers: Whether digits are numbers, as in a CSV file, rather than text that happens to have digits only.
    """

    name: str
    label: str
    form: str | None
    decimal: str
    has_numbers: bool

    @property
    def values(self) -> pl.Expr:
        """The text without spaces around it, null where there is none."""
        text = pl.col(self.name).str.strip_chars()
        return pl.when(text != "").then(text)


def read_times(frame: pl.LazyFrame, time: TextTime) -> pl.LazyFrame:
    """Read a column of text as times, null where a value is none. The column is looked through before.

    Returns:
        The table, with the column as Datetime (in UTC if the values have zones), or as numbers.

    Raises:
        InputError: The values are of another form, or some have a zone and some have none.
    """
    if time.form is not None and time.form != NUMBER:
        read = _by_form(frame, time, time.form)
    elif time.form == NUMBER or time.has_numbers:
        numbers = _as_numbers(frame, time)
        read = _iso(frame, time) if numbers is None else numbers
    else:
        read = _iso(frame, time)
    return frame.with_columns(read.alias(time.name))


def _by_form(frame: pl.LazyFrame, time: TextTime, form: str) -> pl.Expr:
    try:
        pl.Series(["any"]).str.strptime(pl.Datetime("us"), form, strict=False)
    except pl.exceptions.PolarsError as error:
        raise InputError(
            f'data.time_format is "{form}", which reads no time ({str(error).splitlines()[0]}); expected one as '
            '"%m/%d/%Y %I:%M %p"'
        ) from error
    moments = time.values.str.strptime(pl.Datetime("us"), form, strict=False)
    counts = frame.select(
        present=time.values.count(), read=moments.count(), first_year=moments.dt.year().min(),
        unread=time.values.filter(moments.is_null()).drop_nulls().first(),
        earliest=time.values.filter(moments == moments.min()).first(),
    ).collect().row(0, named=True)  # fmt: skip
    wanted = f'expected times of data.time_format = "{form}"'
    if _are_too_many(counts["present"] - counts["read"], counts["present"]):
        raise InputError(
            f"{time.label} is {counts['unread']!r} and the like in {counts['present'] - counts['read']:,} of "
            f"{counts['present']:,} rows; {wanted}{_hint(frame, time)}"
        )
    if counts["first_year"] is not None and counts["first_year"] < 1000:
        raise InputError(
            f"{time.label} {counts['earliest']!r} would be in the year {counts['first_year']}; {wanted} that has the "
            "whole date: for years of two digits, write %y"
        )
    return moments


def _as_numbers(frame: pl.LazyFrame, time: TextTime) -> pl.Expr | None:
    """The column as numbers; None if it holds none, unless they are declared."""
    text = with_decimal_points(time.values, time.decimal)
    counts = frame.select(
        present=text.count(), integers=text.str.contains(INTEGER).sum(), numbers=text.str.contains(NUMERIC).sum(),
        unread=time.values.filter(~text.str.contains(NUMERIC)).first(),
    ).collect().row(0, named=True)  # fmt: skip
    if _are_too_many(counts["present"] - counts["numbers"], counts["present"]):
        if time.form is None:
            return None
        raise InputError(
            f"{time.label} is {counts['unread']!r} and the like in {counts['present'] - counts['numbers']:,} of "
            f'{counts["present"]:,} rows; expected numbers, as data.time_format = "{NUMBER}" says'
        )
    dtype = pl.Int64 if counts["integers"] == counts["numbers"] else pl.Float64
    number = pl.when(text.str.contains(NUMERIC)).then(text).cast(dtype, strict=False)
    return pl.when(number.is_finite()).then(number)


def _iso(frame: pl.LazyFrame, time: TextTime) -> pl.Expr:
    date, clock, seconds, fraction, zone = (time.values.str.extract(_ISO, group) for group in range(1, 6))
    digits = fraction.str.strip_chars_end("0").str.len_bytes().max()
    moments = _moments(date, clock, seconds, fraction, "us")
    counts = frame.select(
        present=time.values.count(), read=moments.count(), digits=digits, zoned=zone.count(), dated=date.count(),
        first_year=moments.dt.year().min(), last_year=moments.dt.year().max(),
        unread=time.values.filter(moments.is_null()).drop_nulls().first(),
        example_zoned=time.values.filter(zone.is_not_null()).first(),
        example_plain=time.values.filter(date.is_not_null() & zone.is_null()).first(),
    ).collect().row(0, named=True)  # fmt: skip
    if 0 < counts["zoned"] < counts["dated"]:
        raise InputError(
            f"{time.label} has a zone in {counts['example_zoned']!r} and none in {counts['example_plain']!r}; expected "
            "all times with a zone, or all without: write the zone that is meant"
        )
    if _are_too_many(counts["present"] - counts["read"], counts["present"]):
        raise InputError(
            f"{time.label} is text such as {counts['unread']!r}, whose order is not that of time; expected ISO 8601, "
            f"as 2011-01-14 09:05:00, or data.time_format to say how it is written{_hint(frame, time)}"
        )
    if (counts["digits"] or 0) > 6:
        if not 1678 <= counts["first_year"] <= counts["last_year"] <= 2261:
            raise InputError(
                f"{time.label} has nanoseconds and the years {counts['first_year']} to {counts['last_year']}; expected "
                "years from 1678 to 2261, which nanoseconds can count: correct the years, or round to microseconds"
            )
        moments = _moments(date, clock, seconds, fraction, "ns")
    return _in_utc(moments, zone) if counts["zoned"] else moments


def _moments(date: pl.Expr, clock: pl.Expr, seconds: pl.Expr, fraction: pl.Expr, unit: TimeUnit) -> pl.Expr:
    text = pl.concat_str(
        date, pl.lit(" "), clock.fill_null("00:00"), seconds.fill_null(":00"), pl.lit("."),
        fraction.str.slice(0, 9).fill_null("0"),
    )  # fmt: skip
    return text.str.strptime(pl.Datetime(unit), "%Y-%m-%d %H:%M:%S%.f", strict=False)


def _in_utc(moments: pl.Expr, zone: pl.Expr) -> pl.Expr:
    digits = zone.str.extract_all(r"\d{2}")
    hours, minutes = (digits.list.get(place, null_on_oob=True).cast(pl.Int64).fill_null(0) for place in (0, 1))
    sign = pl.when(zone.str.starts_with("-")).then(-1).otherwise(1)
    return (moments - pl.duration(minutes=sign * (hours * 60 + minutes))).dt.replace_time_zone("UTC")


def _are_too_many(unread: int, present: int) -> bool:
    """Whether values that are no times are more than slips: one may always be one, unless it is half of all."""
    return unread > max(1, FEW * present) or (unread > 0 and 2 * unread >= present)


def _hint(frame: pl.LazyFrame, time: TextTime) -> str:
    """What to set, where only common formats read all values, for the end of a message."""
    values = frame.select(time.values.alias("text")).filter(pl.col("text").is_not_null())
    sample = values.head(_SAMPLE).collect()
    if sample.select(pl.col("text").str.contains(NUMERIC).all()).item():
        return f'; these are numbers as text: "{NUMBER}" reads them as numbers, "%s" as seconds since 1970'
    suggested = time_formats(values)
    if not suggested:
        return ""
    quoted = " or ".join(f'"{form}"' for form in suggested)
    return f": {quoted} reads all of them" if len(suggested) == 1 else f": {quoted}, whichever is meant"


def time_formats(values: pl.LazyFrame) -> list[str]:
    """The common forms of times, as ``data.time_format``, that read every value; one for each order of day and month.

    Args:
        values: One column, ``text``, without nulls.
    """
    sample = values.head(_SAMPLE).collect().lazy()
    suggested = []
    for date in _DATES:
        form = next((date + clock for clock in _CLOCKS if _reads_all(sample, date + clock)), None)
        if form is not None and _reads_all(values, form):
            suggested.append(form)
    return suggested


def _reads_all(values: pl.LazyFrame, form: str) -> bool:
    moments = pl.col("text").str.strptime(pl.Datetime("us"), form, strict=False)
    years = moments.dt.year()
    return bool(
        values.select(moments.is_not_null().all() & (years.min() >= 1900) & (years.max() < 2200)).collect().item()
    )


def require_clock(log: pl.LazyFrame, ends: pl.Series | None = None) -> None:
    """Check that the order of numbers is that of time.

    Args:
        log: row and time, without nulls.
        ends: Times with the earliest and the latest among them, if they are known.

    Raises:
        InputError: They are dates with the year last, such as 25092023, or moments since 1970 in several units.
    """
    if not log.collect_schema()["time"].is_numeric():
        return
    times = log if ends is None else ends.to_frame("time").lazy()
    low, high = times.select(pl.col("time").min().alias("low"), pl.col("time").max().alias("high")).collect().row(0)
    if low is None:
        return
    if 1011900 <= low <= high < 32e12 and _are_dates_with_the_year_last(log):
        raise InputError(
            f"time is {_first_time(log)} and the like: days, months and years without a separator, whose order is not "
            "that of time; expected the year first, as in 20110114, or dates: convert the column"
        )
    if high < 100 * max(low, 1):
        return
    in_unit = {
        unit: pl.col("time").is_between(_FROM_1990 * scale, _UNTIL_2100 * scale)
        for unit, scale in _UNITS_SINCE_1970.items()
    }
    is_present = log.select(condition.any().alias(unit) for unit, condition in in_unit.items()).collect().row(0)
    present = [unit for unit, is_one in zip(in_unit, is_present, strict=True) if is_one]
    if len(present) > 1:
        units = " and ".join(f"{_first_time(log.filter(in_unit[unit]))} ({unit})" for unit in present)
        raise InputError(f"time holds {units} since 1970; expected one unit: convert those of the others")


_UNITS_SINCE_1970 = {"seconds": 1, "milliseconds": 10**3, "microseconds": 10**6, "nanoseconds": 10**9}
_FROM_1990, _UNTIL_2100 = 631_152_000, 4_102_444_800


def _first_time(log: pl.LazyFrame) -> float:
    """The time of the first row in the file."""
    first_row = log.select(pl.col("row").min()).collect().item()
    time: float = log.filter(pl.col("row") == first_row).select("time").collect().item()
    return time


def _are_dates_with_the_year_last(log: pl.LazyFrame) -> bool:
    """Whether all numbers are such dates, alone or with hours, minutes and perhaps seconds behind them."""

    def are_dates(log: pl.LazyFrame, clock: int) -> bool:
        dates = pl.col("time").cast(pl.Int64) // clock
        year, first, second = dates % 10_000, dates // 1_000_000, dates // 10_000 % 100
        is_date = year.is_between(1900, 2199) & first.is_between(1, 31) & second.is_between(1, 31)
        return bool(log.select((is_date & ((first <= 12) | (second <= 12))).all()).collect().item())

    sample = log.head(_SAMPLE).collect().lazy()
    return any(are_dates(sample, clock) and are_dates(log, clock) for clock in (1, 10**4, 10**6))
