"""Conditions on item columns: which items may be recommended.

To add an operator, give it a line in ``OPERATORS``, which everything that reads conditions uses. A value that does not
fit the type of the column must raise, or be checked in ``_passes``.
"""

from collections.abc import Callable, Iterable, Mapping, Set
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import reduce
from operator import and_, or_
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from ..data import is_list, shown
from ..errors import InputError

Where = Iterable[tuple[str, str, Any]] | Mapping[str, Any]
MAX_CONDITIONS, MAX_DEPTH = 200, 10  # of a tree of conditions

OPERATORS: dict[str, Callable[[pl.Expr, Any], pl.Expr]] = {
    "==": lambda column, value: column == value,
    "!=": lambda column, value: column != value,
    "<": lambda column, value: column < value,
    "<=": lambda column, value: column <= value,
    ">": lambda column, value: column > value,
    ">=": lambda column, value: column >= value,
    "in": lambda column, value: column.is_in(value),
    "contains": lambda column, value: column.list.contains(value),
    "starts_with": lambda column, value: column.str.starts_with(value),
}
EXAMPLE = 'where=[("year", ">=", 1950)]'
TREE = '{"and": [...]}, {"or": [...]} or {"not": ...}'


def passing(items: pl.DataFrame, where: Where) -> pl.Series:
    """Find the items that pass.

    Args:
        items: A row per item.
        where: (column, operator, value) on the columns of ``items``, all of which must hold; or a tree of such lists:
            ``{"and": [...]}``, ``{"or": [...]}``, ``{"not": ...}``. A missing value (null, NaN) passes no condition, so
            it passes the ``not`` of any. A value for a column of times may be text in ISO 8601.

    Returns:
        [num rows] bool.

    Raises:
        InputError: An unknown column or operator, a value that does not fit the column's type, or a tree of more than
            MAX_CONDITIONS conditions or deeper than MAX_DEPTH.
    """
    listed = conditions(where)
    if _count(listed, depth=0) > MAX_CONDITIONS:
        raise InputError(
            f"where has more than {MAX_CONDITIONS} conditions; expected fewer: `in` takes a list of values"
        )
    return _passing(items, listed)


def conditions(where: Where) -> list[Any] | Mapping[str, Any]:
    """What can be read again: the conditions of any iterable as a list, or a tree as it is.

    Raises InputError if it is neither, or a list holds anything else.
    """
    if isinstance(where, Mapping):
        return where
    listed: list[Any] = list(where) if is_list(where) else [None]
    if not all(isinstance(part, Mapping) or (isinstance(part, list | tuple) and len(part) == 3) for part in listed):
        raise InputError(f"where={shown(where)}; expected a list of (column, operator, value), such as {EXAMPLE}")
    return listed


def _parts(tree: Mapping[str, Any]) -> tuple[str, list[Any]]:
    """The word of a tree, and what it joins."""
    word = next(iter(tree), None)
    if len(tree) != 1 or word not in ("and", "or", "not"):
        raise InputError(f"where={shown(tree)}; expected {TREE}")
    part = tree[word]
    if word == "not" and not (is_list(part) and not len(part)):
        return word, [part]
    if not is_list(part) or not len(part):
        raise InputError(f"where: {word} {shown(part)}; expected a list of conditions or trees")
    return str(word), list(part)


def _is_condition(part: Any) -> bool:
    return isinstance(part, list | tuple) and len(part) == 3 and isinstance(part[0], str)


def _count(where: Any, depth: int) -> int:
    """How many conditions there are, as far as that is allowed. Raises InputError for a tree that is too deep."""
    if depth > MAX_DEPTH:
        raise InputError(f"where is nested more than {MAX_DEPTH} deep; expected a flatter tree")
    if _is_condition(where):
        return 1
    count = 0
    for part in _parts(where)[1] if isinstance(where, Mapping) else conditions(where):
        count += _count(part, depth + 1)
        if count > MAX_CONDITIONS:
            break  # a part that stands in many places would be counted in all of them
    return max(1, count)  # an empty list is work, too


def _passing(items: pl.DataFrame, where: Any) -> pl.Series:
    if _is_condition(where):
        return _passes(items, *where)
    word, parts = _parts(where) if isinstance(where, Mapping) else ("and", list(conditions(where)))
    masks = [_passing(items, part) for part in parts]
    if word == "not":
        return ~masks[0]
    return reduce(
        or_ if word == "or" else and_, masks, masks[0] if masks else pl.repeat(True, items.height, eager=True)
    )


def _is_value(value: object) -> bool:
    """Whether this is one value, rather than an expression that would be evaluated, or a collection."""
    return isinstance(value, str | bytes | int | float | Decimal | date | time | timedelta | np.generic)


def _as_time(value: str, dtype: pl.DataType) -> str | date:
    """A time in ISO 8601, for a column of times, since JSON has none; other text as it is. It is UTC unless it says."""
    if isinstance(dtype, pl.Date):
        return date.fromisoformat(value)
    if not isinstance(dtype, pl.Datetime):
        return value
    moment = datetime.fromisoformat(value)
    in_utc = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    return in_utc.astimezone(ZoneInfo(dtype.time_zone)) if dtype.time_zone else in_utc.replace(tzinfo=None)


def _passes(items: pl.DataFrame, column: str, operator: str, value: Any) -> pl.Series:
    if not isinstance(column, str) or column not in items.columns:
        raise InputError(f"where: no column {shown(column)}; the items have {', '.join(items.columns)}")
    if not isinstance(operator, str) or operator not in OPERATORS:
        raise InputError(f"where: no operator {shown(operator)}; there are {', '.join(OPERATORS)}")
    if value is None:
        raise InputError(f"where: {column} {operator} None; expected a value: items without a value never pass")
    if operator == "in" and not (is_list(value) or isinstance(value, Set)):
        raise InputError(f"where: {column} in {shown(value)}; expected a list of values")
    values = list(value) if operator == "in" else [value]
    if not all(one is None or _is_value(one) for one in values):
        raise InputError(f"where: {column} {operator} {shown(value)}; expected plain values, such as text or numbers")
    values = [one.item() if isinstance(one, np.generic) else one for one in values]
    dtype, name = items.schema[column], pl.col("value")  # by a name of its own: pl.col reads some names as patterns
    name = name.fill_nan(None) if dtype.is_float() else name
    try:
        values = [_as_time(one, dtype) if isinstance(one, str) else one for one in values]
        operand = pl.Series(values, dtype=None if values else dtype).implode() if operator == "in" else values[0]
        frame = items.get_column(column).to_frame("value")
        if dtype == pl.String and operator in ("contains", "starts_with") and not isinstance(values[0], str):
            raise TypeError(operator)
        if operator == "contains" and dtype == pl.String:  # a part of a text, where others hold lists
            passed = name.str.contains(values[0], literal=True)
        else:
            passed = OPERATORS[operator](name, operand)
        return frame.select(passed.fill_null(False)).to_series()
    except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise InputError(
            f"where: {column} {operator} {shown(value)} does not fit the column's type, {dtype}"
        ) from error
