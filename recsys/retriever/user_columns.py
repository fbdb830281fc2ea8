"""Raw columns of the users in a request, or of items that are sought, as the towers read them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from ..data import OWN_ID, AnySource, Int64, Transform, as_source, encode_given, is_list, shown
from ..errors import InputError
from ..model import ColumnUpdate

Columns = Mapping[str, Sequence[object]]  # by name of the column: a value for each query, None where nothing is given


def user_table(users: AnySource) -> pl.DataFrame:
    """A table of user columns as one of Polars. Raises InputError if it is none."""
    table = as_source(users, "users")
    if isinstance(table, str):
        raise InputError(f"users are {shown(table)}; expected a table in memory, with a row for each user")
    return table


def encode_user_table(transforms: tuple[Transform, ...], table: pl.DataFrame, num_users: int) -> list[ColumnUpdate]:
    """Encode a table with a row for each user of a request; null where nothing is given.

    Raises:
        InputError: There are other rows, or a column that the model does not read, or of another type.
    """
    if table.height != num_users:
        raise InputError(f"{table.height} rows in users but {num_users} users; expected one row a user")
    updates = []
    for name in table.columns:
        column = table.get_column(name)
        rows = np.flatnonzero(column.is_not_null().to_numpy())
        updates += _updates(_features_of(transforms, name, "user"), rows, column.gather(rows))
    return updates


def encode_user_columns(
    transforms: tuple[Transform, ...], users: Sequence[Mapping[str, object] | None]
) -> list[ColumnUpdate]:
    """Encode the columns that each query gives of its user; None where nothing is given.

    Values of one Python type are encoded together, so that one query's type never decides another's.

    Raises:
        InputError: Something is no mapping, or holds a column that the model does not read, or of another type.
    """
    return _encoded(transforms, users, "user")


def texts_of_columns(
    transforms: tuple[Transform, ...], users: Sequence[Mapping[str, object] | None]
) -> list[str | None] | None:
    """[Q] what the text columns that each query gives say, None where it gives none; None if no query gives any."""
    names = dict.fromkeys(transform.column for transform in transforms if transform.kind == "text")
    texts = []
    for columns in users:
        said = [value for name in names if isinstance(value := (columns or {}).get(name), str) and value]
        texts.append(" ".join(said) if said else None)
    return texts if any(text is not None for text in texts) else None


def encode_item_columns(transforms: tuple[Transform, ...], columns: Columns, count: int) -> list[ColumnUpdate]:
    """Encode columns of the items that ``count`` queries seek.

    Raises:
        InputError: ``columns`` is no mapping to values for every query, or they do not fit the model's item features.
    """
    if not isinstance(columns, Mapping):
        raise InputError(f'columns is {shown(columns)}; expected names and values, such as {{"year": [1950]}}')
    for name, values in columns.items():
        if not is_list(values) or len(values) != count:
            raise InputError(f"columns: {shown(name)} is {shown(values)}; expected a list of {count} values")
    listed = {name: list(values) for name, values in columns.items()}
    return _encoded(transforms, [{name: listed[name][row] for name in listed} for row in range(count)], "item")


def _encoded(
    transforms: tuple[Transform, ...], rows_of_columns: Sequence[Mapping[str, object] | None], role: str
) -> list[ColumnUpdate]:
    updates: list[ColumnUpdate] = []
    for name, rows, values in _by_column(rows_of_columns):
        features = _features_of(transforms, name, role)
        try:
            column = pl.Series(values, strict=True)
        except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError) as error:
            raise InputError(f"{role}: {name} is {shown(values[0])}; expected values of one type") from error
        updates += _updates(features, rows, column)
    return updates


def _by_column(users: Sequence[Mapping[str, object] | None]) -> Iterator[tuple[str, Int64, list[Any]]]:
    """The values that are given, by column and type: the column's name, the queries' rows, the values."""
    given: dict[tuple[str, object], tuple[list[int], list[Any]]] = {}
    for row, columns in enumerate(users):
        if columns is not None and not isinstance(columns, Mapping):
            raise InputError(f'user is {shown(columns)}; expected columns and values, such as {{"age": 34}}')
        for name, value in (columns or {}).items():
            if value is not None:
                key = (name, row) if is_list(value) else (name, type(value))
                rows, values = given.setdefault(key, ([], []))
                rows.append(row)
                values.append(list(value) if is_list(value) else value)  # type: ignore[call-overload]  # an iterable
    for (name, _), (rows, values) in given.items():
        yield name, np.array(rows, np.int64), values


def _updates(features: list[Transform], rows: Int64, values: pl.Series) -> list[ColumnUpdate]:
    return [ColumnUpdate(feature.name, rows, encode_given(feature, values)) for feature in features]


def _features_of(transforms: tuple[Transform, ...], name: str, role: str) -> list[Transform]:
    """The features of a column: one, or two of a text with a pretrained encoder."""
    readable = [transform for transform in transforms if transform.name != OWN_ID.name]
    of_column = [transform for transform in readable if transform.column == name]
    if not of_column:
        columns = ", ".join(dict.fromkeys(transform.column for transform in readable))
        expected = f"the model reads {columns}" if columns else f"the model reads no columns of {role}s"
        raise InputError(f"{role}: no column {shown(name)}; {expected}")
    return of_column
