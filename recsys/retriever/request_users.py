"""The users of a request: raw ids, histories and columns become what the model reads.

Shape suffixes: Q queries.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from ..bundle import AnyBundle
from ..data import Ids, Int64, Jagged, id_lists, id_series, lookup_user_rows
from ..errors import InputError
from .known_users import KnownUsers
from .query import Query


@dataclass(frozen=True)
class RequestUsers:
    """Users as a ranker reads them.

    history: [Q] rows of catalogue positions, oldest first; 0 is an unknown item. rows: [Q] rows of the users' metadata,
    0 for an unknown user.
    """

    history: Jagged
    rows: Int64

    def __len__(self) -> int:
        return len(self.history)

    def take(self, queries: Int64) -> "RequestUsers":
        """Some of the users."""
        return RequestUsers(self.history.take(queries), self.rows[queries])


@dataclass(frozen=True)
class UserReader:
    """Reads who asks. known: the users of a log; None without one."""

    bundle: AnyBundle
    known: KnownUsers | None

    def read(
        self,
        histories: Sequence[Ids] | pl.Series | None,
        user_ids: Ids | None = None,
        recent: Sequence[Ids] | pl.Series | None = None,
    ) -> RequestUsers:
        """Read a batch by column, as ``Retriever.recommend`` has it. Raises InputError where it does not fit."""
        ids = id_series(user_ids, "user") if user_ids is not None else None
        if histories is not None:
            history = self._positions(histories)
        elif ids is not None:
            history = self._logged(ids)
        elif recent is not None:
            history = self._positions(recent)
        else:
            raise InputError("nobody to recommend to; give histories= or user_ids=")
        if ids is not None and len(ids) != len(history):
            raise InputError(f"{len(ids)} user_ids but {len(history)} histories; expected one history a user")
        if recent is not None and (histories is not None or ids is not None):
            added = self._positions(recent)
            if len(added) != len(history):
                raise InputError(f"{len(added)} lists in recent but {len(history)} users; expected one list a user")
            history = history.then(added)
        return RequestUsers(history, np.zeros(len(history), np.int64) if ids is None else self.user_rows(ids))

    def read_queries(self, queries: Sequence[Query]) -> RequestUsers:
        """Read a batch by query. Raises InputError with the number of a bad one."""
        try:
            return self._read_queries(queries)
        except InputError:
            for number, query in enumerate(queries):
                try:
                    self.read_query(query)
                except InputError as error:
                    raise InputError(f"query {number}: {error}") from error
            raise

    def read_query(self, query: Query) -> RequestUsers:
        """Read one query. Raises InputError if it is bad."""
        return self._read_queries([query])

    def user_rows(self, user_ids: pl.Series) -> Int64:
        """[Q] rows of the users' metadata, 0 for an unknown user."""
        return lookup_user_rows(user_ids, self.bundle.users.get_column("user_id"))

    def _read_queries(self, queries: Sequence[Query]) -> RequestUsers:
        for query in queries:
            if query.history is None and query.user_id is None and query.recent is None and query.user is None:
                raise InputError("nobody to recommend to; give a history, a user_id, recent items or user columns")
        ids = id_series([query.user_id for query in queries], "user", self.bundle.encoder.id_types["user_id"])
        history = self._positions([() if query.history is None else query.history for query in queries])
        from_log = np.array([query.history is None and query.user_id is not None for query in queries], bool)
        if from_log.any():
            history = history.then(self._logged(ids.zip_with(pl.Series(from_log), pl.Series([None], dtype=ids.dtype))))
        if any(query.recent is not None for query in queries):
            history = history.then(self._positions([() if query.recent is None else query.recent for query in queries]))
        return RequestUsers(history, self.user_rows(ids))

    def _positions(self, histories: Sequence[Ids] | pl.Series) -> Jagged:
        flat, lengths = id_lists(histories, self.bundle.encoder.item_ids.dtype)
        return Jagged.from_lengths(self.bundle.encoder.positions(flat), lengths)

    def _logged(self, user_ids: pl.Series) -> Jagged:
        if self.known is None:
            raise InputError("users are known by id only after Retriever.load(bundle, events=LOG); or give histories=")
        return self.known.histories_of(user_ids)
