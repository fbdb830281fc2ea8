"""A retriever with newer items: only the rows that differ are encoded, and requests in flight finish on the old one."""

import time
from dataclasses import replace

from ..data import AnySource
from .fresh_metadata import with_newest
from .request_users import UserReader
from .retriever import Retriever


def with_items(retriever: Retriever, items: AnySource, *, complete: bool = False) -> Retriever:
    """The same bundle with newer items; the retriever that is given is not changed.

    Answers are those of ``Retriever.load`` with these items. The log's users stay known, but items of their histories
    that were unknown when the log was read stay so until ``with_events`` reads it again.

    Args:
        retriever: What to start from.
        items: Item metadata, as for ``Retriever.load``; only some of the rows will do.
        complete: Whether ``items`` is the whole catalogue: what it does not have is no longer recommended.

    Raises:
        InputError: The items do not fit the bundle, or changed while they were read.
    """
    bundle, digest, clipped = with_newest(retriever.bundle, items=items, complete=complete)
    newer = Retriever(bundle, retriever.bundle_id, metadata_digest=digest)
    newer.clipped = clipped
    if retriever.known_users is not None:  # vectors that were computed ahead may be of items that have changed
        newer._reader = UserReader(bundle, replace(retriever.known_users, vectors=None))
    return newer.limited(clock=time.time, mask=retriever._mask)
