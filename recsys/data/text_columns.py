"""The types of metadata columns in a table that is stored as text: declared by features or a bundle, else inferred."""

from collections.abc import Mapping

import polars as pl

from ..config import FeatureConfig
from ..errors import InputError
from .column_types import INTEGER, NUMERIC, with_decimal_points
from .feature_kinds import Transform

MISSING = ("", "-", "na", "n/a", "nan", "null", "none")  # how people write that a number is missing
_TRUTH = ("true", "false")


def type_columns(
    table: pl.DataFrame,
    features: tuple[FeatureConfig, ...] | tuple[Transform, ...],
    types: Mapping[str, pl.DataType],
    decimal: str,
    role: str,
    *,
    infers: bool,
) -> pl.DataFrame:
    """Give the text columns of a table their types.

    Args:
        table: Metadata as it was read.
        features: Numeric ones become Float64; lists and vectors are read from JSON; the others stay text.
        types: Of other columns, as a bundle has them.
        decimal: The sign before the fraction of a number, "." or ",".
        role: Names the table in errors.
        infers: Whether the types of all other columns follow from all of their values, as in CSV: integers, numbers,
            truth values, else text.

    Raises:
        InputError: A value does not fit the declared type of its column.
    """
    kinds = {feature.name: feature.kind for feature in features}
    columns = []
    for column in table:
        name, kind = column.name, kinds.get(column.name)
        values = column.alias("values")  # Polars reads a name such as "^t.*$" as a pattern
        if column.dtype != pl.String:
            pass
        elif kind == "numeric":
            values = _numbers(values, pl.Float64(), decimal, f"{role}: {name}")
        elif kind in ("vector", "multi_categorical"):
            values = _lists(values, pl.Float64() if kind == "vector" else pl.String(), f"{role}: {name}")
        elif kind is None and name in types and types[name].is_numeric():
            values = _numbers(values, types[name], decimal, f"{role}: {name}")
        elif kind is None and infers and name not in types:
            values = _inferred(values, decimal)
        columns.append(values.alias(name))
    return pl.DataFrame(columns)


def _plain(column: pl.Series, decimal: str) -> pl.Series:
    return column.to_frame("text").select(with_decimal_points(pl.col("text"), decimal)).to_series().alias("values")


def _numbers(column: pl.Series, dtype: pl.DataType, decimal: str, role: str) -> pl.Series:
    text = _plain(column, decimal)
    is_number = text.str.contains(INTEGER if dtype.is_integer() else NUMERIC)
    is_missing = column.str.strip_chars().str.to_lowercase().is_in(MISSING)
    wrong = column.filter(~is_number & ~is_missing)
    if len(wrong):
        looks = wrong.str.contains(r"^-?[\d.]*,\d+$").any() and decimal == "."
        remedy = 'set data.decimal = ","' if looks else "correct it, or give the feature another kind"
        raise InputError(
            f"{role} holds {wrong[0]!r} and the like in {len(wrong):,} of {len(column):,} rows; "
            f"expected numbers with a decimal {'comma' if decimal == ',' else 'point'}: {remedy}"
        )
    return text.set(~is_number, None).cast(dtype)


def _lists(column: pl.Series, inner: pl.DataType, role: str) -> pl.Series:
    """Lists written as JSON; a column without any stays as it is."""
    text = column.str.strip_chars()
    is_list = text.str.starts_with("[")
    if not is_list.any():
        return column
    try:
        return text.set(text == "", None).str.json_decode(pl.List(inner))
    except pl.exceptions.PolarsError as error:
        raise InputError(
            f"{role} holds {text.filter(is_list)[0]!r} and the like; expected lists as JSON, as in "
            '["a", "b"]: write all of them so'
        ) from error


def _inferred(column: pl.Series, decimal: str) -> pl.Series:
    text = _plain(column, decimal)
    values = text.filter(text != "").drop_nulls()
    if not len(values):
        return column
    empty_is_null = text.set(text == "", None)
    if values.str.contains(INTEGER).all() and (numbers := empty_is_null.cast(pl.Int64, strict=False)).null_count() == (
        empty_is_null.null_count()
    ):
        return numbers
    if values.str.contains(NUMERIC).all():
        return empty_is_null.cast(pl.Float64)
    if values.str.to_lowercase().is_in(_TRUTH).all():
        return empty_is_null.str.to_lowercase() == "true"
    return column
