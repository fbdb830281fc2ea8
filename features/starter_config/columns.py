"""What a column of a table holds, as far as its values tell: ids, numbers, a clock, words, lists."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import polars.selectors as cs

from recsys.data import INTEGER, MISSING, NUMERIC, Table, scan_table, time_formats, with_decimal_points
from recsys.errors import InputError

# seconds since 1970 from 1990 to 2038, and how many of each unit are in a second
EARLIEST, LATEST = 631_152_000, 2_145_916_800
UNITS = {"seconds": 1, "milliseconds": 10**3, "microseconds": 10**6, "nanoseconds": 10**9}
DATED = r"^\d{8}|\d\W+\w{1,9}\W+\d|[A-Za-z]{3}\W+\d+\W+\d"  # what every text with a date matches
ZONE = r":\S*([Zz]|[+-]\d{2}(:?\d{2})?)$"
ISO = r"^\d{4}-\d{2}-\d{2}([Tt ]\d{2}:\d{2}.*)?$"


@dataclass(frozen=True)
class Clock:
    """How the values of a column are read as times.

    Attributes:
        formats: The forms in which text may be written, all of which read every value; none for ISO 8601, numbers and
            columns that are times already.
        unit: Of numbers since 1970; "" for others.
            first, last: The earliest and latest time, in the first form.
        example: A text, if possible one that means another time in another form.
    """

    formats: tuple[str, ...]
    unit: str
    first: datetime
    last: datetime
    example: str = ""

    @property
    def num_days(self) -> float:
        """From the first time to the last."""
        return (self.last - self.first).total_seconds() / 86_400


@dataclass(frozen=True)
class Column:
    """One column, summarised over all rows.

    Attributes:
        name: Its name.
        dtype: Its type in the file; all columns of CSV are text.
        rows, present, distinct: How many rows there are, how many have a value, and how many values differ.
        integers, numbers, comma_numbers: How many values are integers, numbers with a decimal point, and numbers with a
            decimal comma, whether they are stored as text or not; "n/a" and the like count as any of them.
        json_lists, separated: How many texts are lists in JSON, or hold values between "|", ";" or ",".
        mean_words: The words of a text, on average.
        low, high: Of numbers.
        example: The first value.
        clock: How it is read as a time; None if it is none.
    """

    name: str
    dtype: pl.DataType
    rows: int
    present: int
    distinct: int
    integers: int = 0
    numbers: int = 0
    comma_numbers: int = 0
    json_lists: int = 0
    separated: int = 0
    mean_words: float = 0.0
    low: float | None = None
    high: float | None = None
    example: str = ""
    clock: Clock | None = None

    @property
    def is_text(self) -> bool:
        """Whether it is stored as text."""
        return isinstance(self.dtype, pl.String | pl.Categorical | pl.Enum)

    @property
    def is_number(self) -> bool:
        """Whether all of its values are numbers."""
        return self.low is not None and self.present <= max(self.numbers, self.comma_numbers)

    @property
    def has_decimal_comma(self) -> bool:
        """Whether its values are numbers only if a comma comes before the fraction."""
        return self.numbers < self.present == self.comma_numbers

    @property
    def may_be_id(self) -> bool:
        """Whether its values can be ids: whole numbers or short texts."""
        if not self.is_text:
            return self.dtype.is_integer()
        return self.present > 0 and self.mean_words < 6 and (not self.is_number or self.integers == self.present)

    @property
    def is_unique(self) -> bool:
        """Whether no value comes twice."""
        return self.distinct == self.present > 0


@dataclass(frozen=True)
class LookedAt:
    """One file, opened and summarised."""

    path: Path
    table: Table
    columns: dict[str, Column]

    @property
    def rows(self) -> int:
        """How many rows it has."""
        return next(iter(self.columns.values())).rows

    def distinct(self, column: str) -> pl.LazyFrame:
        """The distinct values of a column as text, in the column ``value``."""
        text = cs.by_name(column).cast(pl.String).str.strip_chars().alias("value")
        return self.table.frame.select(text).drop_nulls().unique()


def look_at(path: Path) -> LookedAt:
    """Open a file and summarise its columns.

    Raises:
        InputError: It cannot be read.
    """
    table = scan_table(str(path), "init", [], others=[])
    schema = table.frame.collect_schema()
    columns = {}
    for name, dtype in schema.items():
        column = _summary(table, name, dtype)
        if not column.rows:
            raise InputError(f"{path} has no rows; expected a file with events, or with items or users: leave it out")
        columns[name] = Column(**vars(column) | {"clock": _clock(table, column)})
    return LookedAt(path, table, columns)


def _summary(table: Table, name: str, dtype: pl.DataType) -> Column:
    values = cs.by_name(name).as_expr()
    if dtype.is_nested() or dtype in (pl.Binary, pl.Object):
        rows, present = table.frame.select(pl.len().alias("rows"), values.count().alias("present")).collect().row(0)
        return Column(name, dtype, rows, present, distinct=0)
    if dtype.is_temporal() or dtype.is_numeric() or dtype == pl.Boolean:
        found = table.frame.select(
            rows=pl.len(), present=values.count(), distinct=values.drop_nulls().n_unique(),
            low=values.min(), high=values.max(),
        ).collect().row(0, named=True)  # fmt: skip
        numbers = found["present"] if dtype.is_numeric() else 0
        bounds = {key: float(found[key]) if numbers and found[key] is not None else None for key in ("low", "high")}
        integers = numbers if dtype.is_integer() else 0
        return Column(name, dtype, **found | bounds, integers=integers, numbers=numbers)
    text = values.cast(pl.String, strict=False).str.strip_chars()
    text = text.filter(text != "")
    plain, with_comma = (with_decimal_points(text, decimal) for decimal in (".", ","))
    is_missing = plain.str.to_lowercase().is_in(MISSING)
    number = pl.coalesce(pl.when(form.str.contains(NUMERIC)).then(form) for form in (plain, with_comma)).cast(
        pl.Float64
    )
    found = table.frame.select(
        rows=pl.len(), present=text.len(), distinct=text.n_unique(),
        integers=(text.str.contains(INTEGER) | is_missing).sum(),
        numbers=(plain.str.contains(NUMERIC) | is_missing).sum(),
        comma_numbers=(with_comma.str.contains(NUMERIC) | is_missing).sum(),
        json_lists=text.str.contains(r"^\[.*\]$").sum(), separated=text.str.contains(r"\S[|;,]\s?\S").sum(),
        mean_words=text.str.count_matches(r"\w+").mean(), low=number.min(), high=number.max(), example=text.first(),
    ).collect().row(0, named=True)  # fmt: skip
    return Column(name, dtype, **found | {"mean_words": found["mean_words"] or 0.0, "example": found["example"] or ""})


def _clock(table: Table, column: Column) -> Clock | None:
    """How a column is read as times, if all of its values can be."""
    if not column.present:
        return None
    values = cs.by_name(column.name).as_expr()
    if isinstance(column.dtype, pl.Date | pl.Datetime):
        first, last = table.frame.select(values.min().alias("first"), values.max().alias("last")).cast(
            pl.Datetime("us")
        ).collect().row(0)  # fmt: skip
        return Clock((), "", first, last)
    if column.is_number and not (column.is_text and _is_compact_date(column)):
        return _clock_of_numbers(column)
    if not column.is_text:
        return None
    text = values.cast(pl.String).str.strip_chars()
    text = text.filter(~text.str.to_lowercase().is_in(MISSING))
    is_iso, is_dated, num_zones, low, high = table.frame.select(
        is_iso=text.str.contains(ISO).all(), is_dated=text.str.contains(DATED).all(),
        num_zones=text.str.contains(ZONE).n_unique(), low=text.min(), high=text.max(),
    ).collect().row(0)  # fmt: skip
    if is_iso:
        return _clock_of_iso(low, high) if num_zones == 1 else None
    formats = time_formats(table.frame.select(text.alias("text"))) if is_dated else []
    if not formats:
        return None
    moments = [text.str.strptime(pl.Datetime("us"), form, strict=False) for form in formats]
    first, last, example = table.frame.select(
        first=moments[0].min(), last=moments[0].max(),
        example=text.filter(pl.any_horizontal(moment != moments[0] for moment in moments)).first(),
    ).collect().row(0)  # fmt: skip
    # forms that agree on every value today will not agree on those of tomorrow
    return Clock(tuple(formats), "", first.replace(tzinfo=None), last.replace(tzinfo=None), example or column.example)


def _is_compact_date(column: Column) -> bool:
    """Whether numbers look like 20110114."""
    return column.low is not None and column.high is not None and 19_000_101 <= column.low <= column.high <= 21_001_231


def _clock_of_numbers(column: Column) -> Clock | None:
    low, high = column.low, column.high
    for unit, per_second in UNITS.items():
        if low is not None and high is not None and EARLIEST <= low / per_second <= high / per_second <= LATEST:
            first, last = (datetime.fromtimestamp(value / per_second, UTC) for value in (low, high))
            return Clock((), unit, first.replace(tzinfo=None), last.replace(tzinfo=None))
    return None


def _clock_of_iso(low: str, high: str) -> Clock | None:
    try:
        first, last = (datetime.fromisoformat(text.replace(" +", "+").replace(" Z", "Z")) for text in (low, high))
    except ValueError:
        return None
    return Clock((), "", first.replace(tzinfo=None), last.replace(tzinfo=None))
