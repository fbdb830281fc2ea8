"""The users of a log and their histories, as a bundle reads them."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from ..bundle import AnyBundle
from ..data import (
    Int64,
    Jagged,
    Source,
    as_list_column,
    clean_events,
    encode_lists,
    group_events,
    lookup_user_rows,
    require_unchanged,
    scan_events,
    source_digest,
)


@dataclass(frozen=True)
class KnownUsers:
    """Users of a log, sorted by id, with their histories in catalogue positions."""

    user_ids: pl.Series
    history: Jagged

    @staticmethod
    def read(bundle: AnyBundle, source: Source) -> "KnownUsers":
        """Read a whole log, without a minimum number of events per user; arguments are those of logged_histories."""
        logged = logged_histories(bundle, source)
        return KnownUsers(logged.get_column("user_id"), encode_lists(bundle.encoder, logged.get_column("history")))

    def histories_of(self, user_ids: pl.Series) -> Jagged:
        """The histories of these users, in order; empty for users who are not in the log."""
        rows: Int64 = lookup_user_rows(user_ids, self.user_ids)
        with_unknown = Jagged(self.history.values, np.concatenate(([0], self.history.offsets)))
        return with_unknown.take(rows)


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
