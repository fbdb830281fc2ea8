"""Ids as callers pass them (lists, arrays, columns), checked once and turned into columns."""

import math
import re
import reprlib
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from ..errors import InputError
from .column_types import NO_ID, has_blanks, without_blanks
from .factorize import Int64, lookup_rows
from .jagged import flatten_lists

_NO_ID = re.compile(NO_ID)
FEW_IDS = 1_000  # as in a request, rather than in a log
NO_LIST = (str, bytes, Mapping, Set)  # iterable, but without an order, or of letters
Ids = Sequence[Any] | npt.NDArray[Any] | pl.Series


def lookup_user_rows(user_ids: pl.Series, known: pl.Series) -> Int64:
    """[n] int64: the row of each user in ``known``, counted from 1; 0 if absent.

    Raises:
        InputError: The ids can never match, such as strings among integers.
    """
    require_known_kind(user_ids.dtype, known.dtype, "user")
    return lookup_rows(user_ids.cast(known.dtype, strict=False), known, offset=1).astype(np.int64)


@dataclass(frozen=True)
class UserIds:
    """The ids of known users, among which the few of a request are found without reading all.

    ids: [n] distinct, without nulls, in any order.
    """

    ids: pl.Series

    def rows(self, user_ids: pl.Series) -> Int64:
        """``lookup_user_rows`` in these ids."""
        if len(user_ids) > FEW_IDS:
            return lookup_user_rows(user_ids, self.ids)
        require_known_kind(user_ids.dtype, self.ids.dtype, "user")
        same_type = user_ids.cast(self.ids.dtype, strict=False)
        return np.array([0 if user_id is None else self._row(user_id) for user_id in same_type.to_list()], np.int64)

    def _row(self, user_id: Any) -> int:
        place = bisect_left(self._ascending, user_id)
        if place == len(self.ids) or self._ascending[place] != user_id:
            return 0
        return 1 + (place if self._order is None else int(self._order[place]))

    @cached_property
    def _order(self) -> pl.Series | None:
        """The rows in the order of their ids; None if they are in order."""
        return None if self.ids.is_sorted() else self.ids.arg_sort()

    @cached_property
    def _ascending(self) -> pl.Series:
        return self.ids if self._order is None else self.ids.gather(self._order)


def require_known_kind(dtype: pl.DataType, known: pl.DataType, role: str) -> None:
    """Raise InputError if ids of ``dtype`` can never be among those that a model knows."""
    is_text = isinstance(dtype, pl.String | pl.Categorical | pl.Enum)
    if not (dtype == pl.Null or (dtype.is_integer() if known.is_integer() else is_text)):
        raise InputError(f"{role} ids are {dtype}; the model was trained on {known}: cast them to match")


def id_series(ids: Ids, role: str, dtype: pl.DataType | None = None) -> pl.Series:
    """Ids as a column, with null for what is no id: None, NaN, pandas' NA, and text that is none.

    Args:
        ids: [n] ids of one type.
        role: "item" or "user", for errors.
        dtype: Of the column that a list becomes; None: as its values suggest.

    Raises:
        InputError: They are no list, or not of one type.
    """
    if isinstance(ids, pl.Series):
        return _without_blanks(ids)
    if not is_list(ids):
        raise InputError(f"{role} ids are {shown(ids)}; expected a list of ids")
    values = _without_missing(ids)
    try:
        return pl.Series(values, dtype=dtype, strict=True)
    except UnicodeError as error:
        raise InputError(f"{role} ids hold text that is no Unicode: {shown(values)}") from error
    except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError) as error:
        if dtype is not None:
            raise InputError(f"{role} ids are {shown(values)}; expected {dtype}") from error
        raise InputError(f"{role} ids are of different types: {shown(values)}; expected one type") from error


def id_lists(histories: Sequence[Ids] | pl.Series, dtype: pl.DataType) -> tuple[pl.Series, Int64]:
    """The ids of all histories as one column, null for what is no id, and the length of each history.

    Args:
        histories: One list of item ids per user.
        dtype: The type of item ids.

    Returns:
        [total] ids, and [num_histories] int64 lengths.

    Raises:
        InputError: They are no lists, or not of such ids.
    """
    if isinstance(histories, pl.Series):
        if not isinstance(histories.dtype, pl.List | pl.Array):
            raise InputError(f"histories are {histories.dtype}; expected a list of item ids for each user")
        ids, lengths = flatten_lists(histories.cast(pl.List(histories.dtype.inner)))
        return _without_blanks(ids), lengths
    if not is_list(histories):
        raise InputError(f"histories are {shown(histories)}; expected a list of item ids for each user")
    rows = list(histories)
    for row in rows:
        if not is_list(row):
            raise InputError(f"a history is {shown(row)}; expected a list of item ids for each user")
    values = [_without_missing(row) for row in rows]
    try:
        ids = pl.Series(list(chain.from_iterable(values)), dtype=dtype, strict=True)
    except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError) as error:
        raise InputError(f"histories hold {shown(values)}; expected lists of {dtype} item ids") from error
    return ids, np.array([len(row) for row in values], np.int64)


def shown(value: object) -> str:
    """A value of any kind in one short line of an error."""
    return " ".join(reprlib.repr(value).split())


def is_list(value: object) -> bool:
    """Whether a value holds others in order, rather than being one, as text or an array without dimensions is."""
    is_one = isinstance(value, NO_LIST) or (isinstance(value, np.ndarray) and not value.ndim)
    return isinstance(value, Iterable) and not is_one


def _without_missing(values: Iterable[Any]) -> list[Any]:
    """A list with None for what is no id: NaN, pandas' NA, and text that is none."""
    return [None if _is_missing(value) else value for value in values]


def _is_missing(value: Any) -> bool:
    if isinstance(value, str):
        return bool(_NO_ID.match(value))
    if isinstance(value, int):
        return False
    is_nan = isinstance(value, float | np.floating) and math.isnan(value)
    return is_nan or type(value).__name__ in ("NAType", "NaTType")  # pandas' own, without importing it


def _without_blanks(ids: pl.Series) -> pl.Series:
    return ids.to_frame("id").select(without_blanks(pl.col("id"))).to_series() if has_blanks(ids) else ids
