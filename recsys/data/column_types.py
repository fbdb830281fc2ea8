"""The types of columns: which can be ids or times, and which one holds the values of several files without loss."""

from collections.abc import Mapping
from typing import Literal

import numpy as np
import polars as pl
import polars.selectors as cs

from ..errors import InputError

WIDE = (pl.Int128, pl.UInt128)  # NumPy has no integers of this width
RECOMMENDATIONS = {"rank": pl.Int32, "score": pl.Float32}  # beside user_id and item_id in the input's own types
INTEGER = r"^-?(0|[1-9]\d{0,18})$"  # "0042" is text: as an integer, it would be another id
NUMERIC = r"^-?((0|[1-9]\d*)(\.\d*)?|\.\d+)([eE][+-]?\d+)?$"
# text that stands for everybody who has no id: nothing that can be seen, or what programs write for a missing value
NO_ID = r"^(?:[\s\x00-\x1f\x7f-\x9f\u200b-\u200f\u2060\ufeff]*|nan|NaN|NaT|None|<NA>|null|NULL|\\N)$"
TimeUnit = Literal["ms", "us", "ns"]
_UNITS: tuple[TimeUnit, ...] = ("ms", "us", "ns")
_INTEGERS = (pl.Int8(), pl.Int16(), pl.Int32(), pl.Int64(), pl.UInt8(), pl.UInt16(), pl.UInt32(), pl.UInt64())


def widen(first: pl.DataType, second: pl.DataType) -> pl.DataType | None:
    """The type that holds all values of both types; None if there is none.

    64-bit integers beside floats become Float64, which holds those up to 2**53: the caller looks at the values.
    """
    if first == second or second == pl.Null:
        return first
    if first == pl.Null:
        return second
    if first.is_numeric() and second.is_numeric():
        return _widen_numbers(first, second)
    if first.is_temporal() and second.is_temporal():
        return _widen_times(first, second)
    if _is_text(first) and _is_text(second):
        return pl.String()
    if isinstance(first, pl.List | pl.Array) and isinstance(second, pl.List | pl.Array):
        inner = widen(_inner(first), _inner(second))
        return None if inner is None else pl.List(inner)
    return None


def _widen_numbers(first: pl.DataType, second: pl.DataType) -> pl.DataType | None:
    if first.is_float() and second.is_float():
        return pl.Float64()
    if first.is_integer() and second.is_integer():
        if first in WIDE or second in WIDE:
            return None
        ranges: dict[pl.DataType, np.iinfo] = {dtype: np.iinfo(str(dtype).lower()) for dtype in _INTEGERS}
        low, high = min(ranges[first].min, ranges[second].min), max(ranges[first].max, ranges[second].max)
        return next((dtype for dtype, held in ranges.items() if held.min <= low and held.max >= high), None)
    if any(isinstance(dtype, pl.Decimal) or dtype in WIDE for dtype in (first, second)):
        return None
    return pl.Float64()


def _widen_times(first: pl.DataType, second: pl.DataType) -> pl.DataType | None:
    if isinstance(first, pl.Duration) and isinstance(second, pl.Duration):
        return pl.Duration(_finer(first.time_unit, second.time_unit))
    if isinstance(first, pl.Date) or isinstance(second, pl.Date):
        other = second if isinstance(first, pl.Date) else first
        return other if isinstance(other, pl.Datetime) and other.time_zone is None else None
    if isinstance(first, pl.Datetime) and isinstance(second, pl.Datetime):
        if (first.time_zone is None) != (second.time_zone is None):
            return None
        zone = first.time_zone if first.time_zone == second.time_zone else "UTC"
        return pl.Datetime(_finer(first.time_unit, second.time_unit), zone)
    return None


def _finer(first: TimeUnit, second: TimeUnit) -> TimeUnit:
    return max(first, second, key=_UNITS.index)


def _inner(dtype: pl.List | pl.Array) -> pl.DataType:
    return pl.Series([], dtype=dtype.inner).dtype


def _is_text(dtype: pl.DataType) -> bool:
    return isinstance(dtype, pl.String | pl.Categorical | pl.Enum)


def id_type(frame: pl.LazyFrame, column: str, role: str) -> pl.DataType:
    """The type in which an id column is handled: integers as they are, text as String.

    Raises:
        InputError: The column is anything else.
    """
    dtype = frame.collect_schema()[column]
    if dtype == pl.String or (dtype.is_integer() and dtype not in WIDE):
        return dtype
    if isinstance(dtype, pl.Categorical | pl.Enum):
        return pl.String()
    raise InputError(f"{role}: {column} is {dtype}; ids are integers of up to 64 bits or strings: cast the column")


def time_type(frame: pl.LazyFrame, column: str, role: str) -> pl.DataType:
    """The type in which a time column is handled: numbers, dates and times as they are, text as String.

    A time of day without a date is refused: its order is not that of time.

    Raises:
        InputError: The column is anything else.
    """
    dtype = frame.collect_schema()[column]
    is_time_of_day = dtype == pl.Time
    if (dtype.is_numeric() and dtype not in WIDE) or (dtype.is_temporal() and not is_time_of_day) or dtype == pl.String:
        return dtype
    if isinstance(dtype, pl.Categorical | pl.Enum):
        return pl.String()
    if is_time_of_day:
        raise InputError(f"{role}: {column} is a time of day without a date; expected both: add the date to the column")
    raise InputError(
        f"{role}: {column} is {dtype}; a time is a number, a date, a datetime or a string: cast the column"
    )


def id_columns(
    frame: pl.LazyFrame,
    columns: Mapping[str, str],
    role: str,
    *,
    text_types: Mapping[str, pl.DataType] | None,
) -> list[pl.Expr]:
    """Select ids under our names. Text may still be blank, see ``without_blanks``.

    Args:
        frame: A table.
        columns: The table's own column for each of our names.
        role: Names the table in errors.
        text_types: For a table that is stored as text, the type of ids by our names, which are text if it is missing
            there; None for a table that has types.

    Raises:
        InputError: A column can be no id, or holds a value of another type than ``text_types`` says.
    """
    selected = []
    for name, column in columns.items():
        ids, dtype = cs.by_name(column).as_expr(), id_type(frame, column, role)
        wanted = dtype if text_types is None else text_types.get(name, pl.String())
        if wanted == pl.String:
            ids = ids.cast(pl.String)
        elif frame.collect_schema()[column] == pl.String:
            _refuse_text_ids(frame, column, wanted, role)
            ids = without_blanks(ids.str.strip_chars())  # an integer of no digits
        selected.append(ids.cast(wanted).alias(name))
    return selected


def without_blanks(ids: pl.Expr) -> pl.Expr:
    """Ids of text, null where one is none (``NO_ID``)."""
    return pl.when(~ids.str.contains(NO_ID)).then(ids)


def with_decimal_points(text: pl.Expr, decimal: str) -> pl.Expr:
    """Numbers as text with a decimal point. Where the sign is a comma, a point makes a value no number."""
    stripped = text.str.strip_chars()
    if decimal == ".":
        return stripped
    return stripped.str.replace_all(".", "?", literal=True).str.replace(decimal, ".", literal=True)


def has_blanks(ids: pl.Series) -> bool:
    """Whether ``without_blanks`` would make an id of a column null."""
    return ids.dtype == pl.String and bool(ids.str.contains(NO_ID).any())


def _refuse_text_ids(frame: pl.LazyFrame, column: str, wanted: pl.DataType, role: str) -> None:
    """Raise InputError if a column of text holds another value than an integer as it is written, such as 0042."""
    text = cs.by_name(column).as_expr().str.strip_chars()
    wrong = frame.select(text.filter((text != "") & ~text.str.contains(INTEGER)).first()).collect().item()
    if wrong is not None:
        raise InputError(
            f"{role}: {column} holds {wrong!r}; expected {wanted} ids, as declared or in the bundle: correct them, or "
            'set data.id_type = "text" and train again'
        )


def require_same_kind(first: pl.DataType, second: pl.DataType, column: str, first_role: str, second_role: str) -> None:
    """Raise InputError if ids or times of two files could never be equal, such as integers and strings."""
    if _kind(first) != _kind(second):
        raise InputError(
            f"{column} is {first} in {first_role} but {second} in {second_role}; "
            f"expected one kind everywhere: cast one of them"
        )


def _kind(dtype: pl.DataType) -> str:
    if dtype.is_temporal():
        return f"time {getattr(dtype, 'time_zone', None)}"
    return "number" if dtype.is_numeric() else "text"


def cast_ids(ids: pl.Series, dtype: pl.DataType, role: str) -> pl.Series:
    """Ids of another table in the type that the events have.

    Raises:
        InputError: An id does not fit that type.
    """
    cast = ids.cast(dtype, strict=False)
    lost = ids.filter(cast.is_null() & ids.is_not_null())
    if len(lost):
        raise InputError(
            f"{role}: {ids.name} {lost[0]!r} does not fit {dtype}, its type in the events; "
            f"expected one type: cast their column to {ids.dtype}"
        )
    return cast
