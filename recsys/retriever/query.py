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
class Options:
    """What an answer may hold.

    Attributes:
        k: How many items.
        exclude_seen: Leave out the items of the history.
        exclude: Item ids that are left out.
        only: Item ids of which the answer consists; None: the whole catalogue.
        where: Conditions on item columns.
        per: The most items for each value of a column, by column.
        diversity: From 0, by score alone, towards 1, which items are chosen to be unlike each other.
    """

    k: int = 10
    exclude_seen: bool = True
    exclude: Ids | None = None
    only: Ids | None = None
    where: Where = ()
    per: Mapping[str, int] | None = None
    diversity: float = 0.0


@dataclass(frozen=True)
class Query:
    """One request. It needs a history, a user's id, recent items or columns of the user.

    Attributes:
        history: Raw item ids, oldest first; None for what the log says of ``user_id``.
        user_id: A user of the log that the retriever knows; with ``history``, the user whose metadata counts.
        recent: Raw item ids that follow the history: what happened since the log was written.
        user: Raw columns of the user, such as {"age": 34}, in place of what is known of ``user_id``. A column that is
            None is not given. A baseline reads none.
        k, exclude_seen, exclude, only, where, per, diversity: As in ``Options``.
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

    @property
    def options(self) -> Options:
        """What the answer may hold."""
        return Options(**{option.name: getattr(self, option.name) for option in fields(Options)})


def as_queries(queries: Sequence[Query]) -> list[Query]:
    """The queries as a list. Raises InputError if they are anything else."""
    listed: list[Any] = list(queries) if is_list(queries) else [None]
    for query in listed:
        if not isinstance(query, Query):
            raise InputError(f"queries are {shown(queries)}; expected a list of Query")
    return listed


def by_options(queries: Sequence[Query]) -> list[tuple[Options, Int64]]:
    """The distinct options of some queries, and the rows of the queries that have each."""
    rows_of: dict[object, list[int]] = {}
    options = [query.options for query in queries]
    for row, one in enumerate(options):
        rows_of.setdefault(_key(one), []).append(row)
    return [(options[rows[0]], np.array(rows, np.int64)) for rows in rows_of.values()]


def _key(value: object) -> object:
    """Equal for values that are equal, type by type; what cannot be compared equals only itself."""
    if isinstance(value, Options):
        return tuple(_key(getattr(value, field.name)) for field in fields(value))
    if isinstance(value, list | tuple):
        return (list, *map(_key, value))
    if isinstance(value, Mapping):
        return (dict, *((_key(name), _key(part)) for name, part in value.items()))
    if isinstance(value, pl.Series | np.ndarray):
        return type(value), str(value.dtype), _key(value.to_list() if isinstance(value, pl.Series) else value.tolist())
    if value is None or isinstance(value, str | int | float):
        return type(value), value
    return object, id(value)
