"""Conditions on item columns: which items may be recommended.

To add an operator, give it a line in ``OPERATORS``, which everything that reads conditions uses. A value that does not
fit the type of the column must raise, or be checked in ``_passes``.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import polars as pl

from .errors import InputError

Where = Sequence[tuple[str, str, Any]]

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
    for condition in _conditions(where):
        mask &= _passes(items, *condition)
    return mask


def _conditions(where: Where) -> list[tuple[str, str, Any]]:
    conditions = list(where) if isinstance(where, Iterable) and not isinstance(where, str) else [None]
    if not all(isinstance(condition, list | tuple) and len(condition) == 3 for condition in conditions):
        raise InputError(f"where={where!r}; expected a list of (column, operator, value), such as {EXAMPLE}")
    return [(column, operator, value) for column, operator, value in conditions]


def _passes(items: pl.DataFrame, column: str, operator: str, value: Any) -> pl.Series:
    if column not in items.columns:
        raise InputError(f"where: no column {column!r}; the items have {', '.join(items.columns)}")
    if operator not in OPERATORS:
        raise InputError(f"where: no operator {operator!r}; there are {', '.join(OPERATORS)}")
    if value is None:
        raise InputError(f"where: {column} {operator} None; expected a value: items without a value never pass")
    if operator == "in" and (isinstance(value, str) or not isinstance(value, Iterable)):
        raise InputError(f"where: {column} in {value!r}; expected a list of values")
    dtype = items.schema[column]
    values = pl.col(column).fill_nan(None) if dtype.is_float() else pl.col(column)
    try:
        operand = pl.Series(list(value), dtype=None if len(value) else dtype).implode() if operator == "in" else value
        return items.select(OPERATORS[operator](values, operand).fill_null(False).alias(column)).to_series()
    except (TypeError, pl.exceptions.PolarsError) as error:
        raise InputError(f"where: {column} {operator} {value!r} does not fit the column's type, {dtype}") from error
