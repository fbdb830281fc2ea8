"""The users of a log and their histories, as a bundle reads them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl

from ..bundle import AnyBundle
from ..data import (
    Int64,
    Jagged,
    Source,
    UserIds,
    as_list_column,
    clean_events,
    encode_lists,
    group_events,
    require_unchanged,
    scan_events,
    source_digest,
)

USERS_AT_ONCE = 1 << 14

Encode = Callable[[Jagged, Int64], npt.NDArray[np.float32]]


@dataclass(frozen=True)
class KnownUsers:
    """Users of a log, sorted by id, with their histories in catalogue positions.

    vectors: [num_users, D] float32, computed ahead so that a request for a user by id is only a search; None: not yet.
    is_stale: [num_users] bool, whose vectors are out of date, or not computed yet; None: nobody's.
    """

    user_ids: pl.Series
    history: Jagged
    vectors: npt.NDArray[np.float32] | None = None
    is_stale: npt.NDArray[np.bool_] | None = None

    @staticmethod
    def read(bundle: AnyBundle, source: Source) -> "KnownUsers":
        """Read a whole log, without a minimum number of events per user; arguments are those of logged_histories."""
        logged = logged_histories(bundle, source)
        return KnownUsers(logged.get_column("user_id"), encode_lists(bundle.encoder, logged.get_column("history")))

    def rows(self, user_ids: pl.Series) -> Int64:
        """[n] int64: these users' rows, counted from 1; 0 for users who are not in the log."""
        return self._ids.rows(user_ids)

    def take(self, rows: Int64) -> Jagged:
        """The histories of users by the rows that ``rows`` returns; empty where they are 0."""
        with_unknown = Jagged(self.history.values, np.concatenate(([0], self.history.offsets)))
        return with_unknown.take(rows)

    def with_vectors(self, encode: Encode, before: "KnownUsers | None" = None, most: int | None = None) -> "KnownUsers":
        """The same users with their vectors, a bounded number at a time.

        Args:
            encode: From histories and the users' rows here, counted from 0, to vectors.
            before: Users whose vectors are taken over where their history is the same.
            most: How many to compute now; the others stay stale. None: all.
        """
        numbers = np.arange(len(self.user_ids))
        taken, vectors = np.zeros(len(numbers), bool), None
        if before is not None and before.vectors is not None:
            rows = before.rows(self.user_ids)
            taken = self._is_same_history(before.take(rows)) & (rows > 0)
            if before.is_stale is not None:
                taken &= ~before.is_stale[rows - 1]
            vectors = before.vectors[rows - 1]
        missing = numbers[~taken]
        for start in range(0, len(missing[:most]), USERS_AT_ONCE):
            part = missing[:most][start : start + USERS_AT_ONCE]
            encoded = encode(self.history.take(part), part)
            if vectors is None:
                vectors = np.empty((len(numbers), encoded.shape[1]), np.float32)
            vectors[part] = encoded
        is_stale = ~taken
        is_stale[missing[:most]] = False
        return replace(self, vectors=vectors, is_stale=is_stale if is_stale.any() else None)

    def moved(self, positions: Int64) -> "KnownUsers":
        """The same after the vectors of these items have changed: those of users who had one of them are stale."""
        if self.vectors is None or not len(positions):
            return self
        is_moved = np.zeros(max(int(positions[-1]), self.history.values.max(initial=0)) + 1, bool)
        is_moved[positions] = True
        is_stale = self.history.count(is_moved[self.history.values]) > 0
        return replace(self, is_stale=is_stale if self.is_stale is None else self.is_stale | is_stale)

    @cached_property
    def _ids(self) -> UserIds:
        return UserIds(self.user_ids)

    def _is_same_history(self, other: Jagged) -> npt.NDArray[np.bool_]:
        """[num_users] bool: whether a user's history is the same row of another."""
        is_same: npt.NDArray[np.bool_] = self.history.lengths == other.lengths
        mine, others = (one.take(np.flatnonzero(is_same)) for one in (self.history, other))
        is_same[is_same] = mine.count(mine.values != others.values) == 0
        return is_same


def logged_histories(bundle: AnyBundle, source: Source) -> pl.DataFrame:
    """Read the histories of a log's users.

    Args:
        bundle: Names the columns of the log.
        source: A file, a pattern of files or a folder, or a table in memory.

    Returns:
        user_id and history (raw item ids, oldest first), sorted by user.

    Raises:
        InputError: The log cannot be read, has no usable event, or changed meanwhile.
    """
    digest = source_digest(source, "events") if isinstance(source, str) else ""
    cleaned = clean_events(scan_events(source, bundle.encoder.columns, id_types=bundle.encoder.id_types))
    require_unchanged(source, "events", digest)
    grouped = group_events(cleaned.log, cleaned.user_ids)
    items = cleaned.item_ids.gather(grouped.items.values)
    return pl.DataFrame([grouped.user_ids, as_list_column(items, grouped.items.offsets, "history")])
