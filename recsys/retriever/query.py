"""Requests: who asks, and what they may get.

A batch of queries is encoded together. Queries whose options are equal are searched for together.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import polars as pl

from ..answers import Where
from ..data import Ids, Int64, is_list, shown
from ..errors import InputError


class QueryError(InputError):
    """A bad query among several. number: which one, from 0. reason: what a query alone would be told."""

    def __init__(self, number: int, reason: InputError) -> None:
        super().__init__(f"query {number}: {reason}")
        self.number, self.reason = number, reason


@dataclass(frozen=True)
class Query:
    """One request. It needs a history, a user's id, recent items or columns of the user.

    Attributes:
        history: Raw item ids, oldest first; None for what the log says of ``user_id``.
        user_id: A user of the log that the retriever knows; with ``history``, the user whose metadata counts.
        recent: Raw item ids that follow the history: what happened since the log was written.
        user: Raw columns of the user, such as {"age": 34}, in place of what is known of ``user_id``. A column that is
            None is not given. A baseline reads none.
        k: How many items.
        exclude_seen: Leave out the items of the history.
        exclude: Item ids that are left out.
        only: Item ids of which the answer consists; None: the whole catalogue.
        where: Conditions on item columns.
        per: The most items for each value of a column, by column.
        diversity: From 0, by score alone, towards 1, which items are chosen to be unlike each other.
    """

    history: Ids | None = None
    user_id: Any = None
    recent: Ids | None = None
    user: Mapping[str, object] | None = None
    k: int = 10
    exclude_seen: bool = True
    exclude: Ids | None = None
    only: Ids | None = None
    where: Where = ()
    per: Mapping[str, int] | None = None
    diversity: float = 0.0


OPTIONS = tuple(one.name for one in fields(Query) if one.name not in ("history", "user_id", "recent", "user"))


def as_queries(queries: Sequence[Query]) -> list[Query]:
    """The queries as a list. Raises InputError if they are anything else."""
    listed: list[Any] = list(queries) if is_list(queries) else [None]
    for query in listed:
        if not isinstance(query, Query):
            raise InputError(f"queries are {shown(queries)}; expected a list of Query")
    return listed


def by_options(queries: Sequence[Query]) -> list[tuple[Query, Int64]]:
    """The first query of those with the same options, for each distinct set of options, and the rows of all of them."""
    rows_of: dict[object, list[int]] = {}
    for row, query in enumerate(queries):
        rows_of.setdefault(tuple(_key(getattr(query, name)) for name in OPTIONS), []).append(row)
    return [(queries[rows[0]], np.array(rows, np.int64)) for rows in rows_of.values()]


def _key(value: object) -> object:
    """Equal for values that are equal, type by type; what cannot be compared equals only itself."""
    if isinstance(value, list | tuple):
        return (list, *map(_key, value))
    if isinstance(value, Mapping):
        return (dict, *((_key(name), _key(part)) for name, part in value.items()))
    if isinstance(value, pl.Series | np.ndarray):
        return type(value), str(value.dtype), _key(value.to_list() if isinstance(value, pl.Series) else value.tolist())
    if value is None or isinstance(value, str | int | float):
        return type(value), value
    return object, id(value)
