"""Conditions on item columns: which items may be recommended.

To add an operator, give it a line in ``OPERATORS``, which everything that reads conditions uses. A value that does not
fit the type of the column must raise, or be checked in ``_passes``.
"""

from collections.abc import Callable, Iterable, Set
from datetime import date, time, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl

from ..data import is_list, shown
from ..errors import InputError

Where = Iterable[tuple[str, str, Any]]

OPERATORS: dict[str, Callable[[pl.Expr, Any], pl.Expr]] = {
    "==": lambda column, value: column == value,
    "!=": lambda column, value: column != value,
    "<": lambda column, value: column < value,
    "<=": lambda column, value: column <= value,
    ">": lambda column, value: column > value,
    ">=": lambda column, value: column >= value,
    "in": lambda column, value: column.is_in(value),
    "contains": lambda column, value: column.list.contains(value),
}
EXAMPLE = 'where=[("year", ">=", 1950)]'


def passing(items: pl.DataFrame, where: Where) -> pl.Series:
    """Find the items that pass all conditions.

    Args:
        items: A row per item.
        where: (column, operator, value) on the columns of ``items``. A missing value (null, NaN) passes no condition.

    Returns:
        [num rows] bool.

    Raises:
        InputError: An unknown column or operator, or a value that does not fit the column's type.
    """
    mask = pl.repeat(True, items.height, eager=True)
    for condition in conditions(where):
        mask &= _passes(items, *condition)
    return mask


def conditions(where: Where) -> list[tuple[str, str, Any]]:
    """The conditions of any iterable. Raises InputError if it is none, or holds anything else."""
    listed: list[Any] = list(where) if is_list(where) else [None]
    if not all(isinstance(condition, list | tuple) and len(condition) == 3 for condition in listed):
        raise InputError(f"where={shown(where)}; expected a list of (column, operator, value), such as {EXAMPLE}")
    return [(column, operator, value) for column, operator, value in listed]


def _is_value(value: object) -> bool:
    """Whether this is one value, rather than an expression that would be evaluated, or a collection."""
    return isinstance(value, str | bytes | int | float | Decimal | date | time | timedelta | np.generic)


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
    if not all(each is None or _is_value(each) for each in values):
        raise InputError(f"where: {column} {operator} {shown(value)}; expected plain values, such as text or numbers")
    values = [each.item() if isinstance(each, np.generic) else each for each in values]
    dtype, name = items.schema[column], pl.col("value")  # by a name of its own: pl.col reads some names as patterns
    name = name.fill_nan(None) if dtype.is_float() else name
    try:
        operand = pl.Series(values, dtype=None if values else dtype).implode() if operator == "in" else values[0]
        frame = items.get_column(column).to_frame("value")
        return frame.select(OPERATORS[operator](name, operand).fill_null(False)).to_series()
    except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise InputError(
            f"where: {column} {operator} {shown(value)} does not fit the column's type, {dtype}"
        ) from error
