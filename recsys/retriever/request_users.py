"""The users of a request: raw ids, histories and columns become what the model reads.

Shape suffixes: Q queries.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl

from ..bundle import AnyBundle, BaselineBundle
from ..data import AnySource, Ids, Int64, Jagged, Transform, UserIds, id_lists, id_series, joined_texts
from ..errors import InputError
from ..model import ColumnUpdate
from ..rankers import Texts
from .known_users import Encode, KnownUsers
from .query import Query, QueryError
from .user_columns import encode_user_columns, encode_user_table, texts_of_columns, user_table


@dataclass(frozen=True)
class RequestUsers:
    """Users as a ranker reads them.

    history: [Q] rows of catalogue positions, oldest first; 0 is an unknown item. rows: [Q] rows of the users' metadata,
    0 for an unknown user. updates: features that the request gives, in place of the metadata. vectors: [n, D] of the
    users that ``encoded`` [n] lists, which were computed before; None without any. texts: [Q] what the text columns of
    users say, None where there are none; None where no words are compared.
    """

    history: Jagged
    rows: Int64
    updates: Sequence[ColumnUpdate] = ()
    encoded: Int64 | None = None
    vectors: npt.NDArray[np.float32] | None = None
    texts: Texts | None = None

    def __len__(self) -> int:
        return len(self.history)

    def take(self, queries: Int64) -> "RequestUsers":
        """Some of the users, in ascending order, without vectors."""
        updates = []
        for update in self.updates:
            is_taken = np.isin(update.rows, queries)
            rows = np.searchsorted(queries, update.rows[is_taken])
            updates.append(ColumnUpdate(update.name, rows, update.values.filter(pl.Series(is_taken))))
        return RequestUsers(self.history.take(queries), self.rows[queries], updates)


def texts_of_rows(bundle: AnyBundle, rows: Int64) -> list[str | None] | None:
    """[Q] what the text columns of users say, by their rows of the metadata; None where no words are compared."""
    if isinstance(bundle, BaselineBundle) or not bundle.mixes_words_for_users:
        return None
    return bundle.texts_of(rows)


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
        users: AnySource | None = None,
    ) -> RequestUsers:
        """Read a batch by column, as ``Retriever.recommend`` has it. Raises InputError where it does not fit."""
        ids = id_series(user_ids, "user") if user_ids is not None else None
        table = user_table(users) if users is not None else None
        requested, logged = None if histories is None else self._positions(histories), None
        added = None if recent is None else self._positions(recent)
        counts = [len(one) for one in (requested, ids, added, table) if one is not None]
        if not counts:
            raise InputError("nobody to recommend to; give histories= or user_ids=")
        num_users = counts[0]
        if ids is not None and len(ids) != num_users:
            raise InputError(f"{len(ids)} user_ids but {num_users} histories; expected one history a user")
        if added is not None and len(added) != num_users:
            raise InputError(f"{len(added)} lists in recent but {num_users} users; expected one list a user")
        if requested is None and ids is not None:
            logged = self._require_known().rows(ids)
        rows = np.zeros(num_users, np.int64) if ids is None else self.user_rows(ids)
        updates = [] if table is None or self._ignores_users else encode_user_table(self._transforms, table, num_users)
        texts = self._texts(rows, None if table is None else joined_texts(self._transforms, table).to_list())
        return replace(self._joined(requested, logged, added, rows, updates), texts=texts)

    def read_queries(self, queries: Sequence[Query]) -> RequestUsers:
        """Read a batch by query. Raises QueryError for a bad one."""
        try:
            return self._read_queries(queries)
        except InputError:
            for number, query in enumerate(queries):
                try:
                    self.read_query(query)
                except InputError as error:
                    raise QueryError(number, error) from error
            raise

    def read_query(self, query: Query) -> RequestUsers:
        """Read one query. Raises InputError if it is bad."""
        return self._read_queries([query])

    def encoded_ahead(self, encode: Encode, before: KnownUsers | None, most: int | None) -> "UserReader":
        """The same with the vectors of the known users. The arguments are those of ``KnownUsers.with_vectors``."""
        if self.known is None:
            return self
        user_rows = self.user_rows(self.known.user_ids)
        known = self.known.with_vectors(lambda history, rows: encode(history, user_rows[rows]), before, most)
        return replace(self, known=known)

    def user_rows(self, user_ids: pl.Series) -> Int64:
        """[Q] rows of the users' metadata, 0 for an unknown user."""
        return self._with_metadata.rows(user_ids)

    def _read_queries(self, queries: Sequence[Query]) -> RequestUsers:
        for query in queries:
            if query.history is None and query.user_id is None and query.recent is None and query.user is None:
                raise InputError("nobody to recommend to; give a history, a user_id, recent items or user columns")
        ids = id_series([query.user_id for query in queries], "user", self.bundle.encoder.id_types["user_id"])
        requested = self._positions([() if query.history is None else query.history for query in queries])
        recent, logged = None, None
        if any(query.recent is not None for query in queries):
            recent = self._positions([() if query.recent is None else query.recent for query in queries])
        from_log = np.array([query.history is None and query.user_id is not None for query in queries], bool)
        if from_log.any():
            logged = self._require_known().rows(ids) * from_log
        columns = [] if self._ignores_users else [query.user for query in queries]
        updates = encode_user_columns(self._transforms, columns)
        rows = self.user_rows(ids)
        texts = self._texts(rows, texts_of_columns(self._transforms, columns))
        return replace(self._joined(requested, logged, recent, rows, updates), texts=texts)

    def _joined(
        self,
        requested: Jagged | None,
        logged: Int64 | None,
        recent: Jagged | None,
        rows: Int64,
        updates: Sequence[ColumnUpdate],
    ) -> RequestUsers:
        """Histories from the request, or from the log by the rows of its users (0: none), with what is recent."""
        history = Jagged(np.empty(0, np.int32), np.zeros(len(rows) + 1, np.int64)) if requested is None else requested
        if logged is not None:
            assert self.known is not None  # or nobody would have rows
            of_log = self.known.take(logged)
            history = of_log if requested is None else history.then(of_log)
        if recent is not None:
            history = history.then(recent)
        if logged is None or self.known is None or self.known.vectors is None:
            return RequestUsers(history, rows, updates)
        is_unchanged = logged > 0 if recent is None else (logged > 0) & (recent.lengths == 0)
        if self.known.is_stale is not None:
            is_unchanged &= ~self.known.is_stale[logged - 1]
        for update in updates:
            is_unchanged[update.rows] = False
        encoded = np.flatnonzero(is_unchanged)
        return RequestUsers(history, rows, updates, encoded, self.known.vectors[logged[encoded] - 1])

    def _texts(self, rows: Int64, requested: Sequence[str | None] | None) -> Texts | None:
        """The texts of users: those that the request has, before those of the metadata."""
        known = texts_of_rows(self.bundle, rows)
        if known is None or requested is None:
            return known
        return [text if text is not None else other for text, other in zip(requested, known, strict=True)]

    @cached_property
    def _with_metadata(self) -> UserIds:
        return UserIds(self.bundle.users.get_column("user_id"))

    @property
    def _ignores_users(self) -> bool:
        """A baseline reads no columns. It takes the place of a model that does, so its requests may hold them."""
        return isinstance(self.bundle, BaselineBundle)

    @property
    def _transforms(self) -> tuple[Transform, ...]:
        return self.bundle.encoder.user_transforms

    def _positions(self, histories: Sequence[Ids] | pl.Series) -> Jagged:
        flat, lengths = id_lists(histories, self.bundle.encoder.item_ids.dtype)
        return Jagged.from_lengths(self.bundle.encoder.positions(flat), lengths)

    def _require_known(self) -> KnownUsers:
        if self.known is None:
            raise InputError("users are known by id only after Retriever.load(bundle, events=LOG); or give histories=")
        return self.known
