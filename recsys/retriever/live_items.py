"""A retriever with newer items: only rows that differ are read, encoded and indexed anew.

Requests in flight finish on the old one. What a change costs does not grow with the catalogue, but for copies of its
arrays. Newer vectors stand beside the bundle's index (recsys/search/fresh_index.py) until they are many.
"""

import time
from dataclasses import replace

import numpy as np

from .. import files
from ..bundle import BaselineBundle, Bundle
from ..data import AnySource, Int64, as_source, encode_features, named, require_unchanged, source_digest
from ..model import FeatureRows, FeatureTable, ItemEncoder
from ..search import FreshIndex, ItemIndex, choose_device, whole
from .changed_rows import ChangedRows, LiveItems, with_rows
from .fresh_metadata import is_removed, newer_lexical, on_device, read_items, require_some, with_newest
from .request_users import UserReader
from .retriever import Retriever


def with_items(
    retriever: Retriever, items: AnySource, *, complete: bool = False, instead: bool = False, fold: bool = True
) -> Retriever:
    """The same bundle with newer items; the retriever that is given is not changed.

    Answers are those of ``Retriever.load`` with these items; of items with equal scores, those that came first are
    first. The log's users stay known, but items of their histories that were unknown when the log was read stay so
    until ``with_events`` reads it again.

    Args:
        retriever: What to start from.
        items: Item metadata, as for ``Retriever.load``; only some of the rows will do.
        complete: Whether ``items`` is the whole catalogue: what it does not have is no longer recommended.
        instead: Whether ``items`` takes the place of the tables before it: what they said of other items is forgotten.
        fold: Whether to build the index again once the newer rows beside it are more than a fiftieth of it. Where that
            may take too long, as for a large HNSW index, call ``folded`` in another thread.

    Raises:
        InputError: The items do not fit the bundle, or changed while they were read.
    """
    if isinstance(retriever.bundle, BaselineBundle):  # has no vectors and no index: only columns change
        bundle, digest, clipped = with_newest(retriever.bundle, items=items, complete=complete)
        newer = Retriever(bundle, retriever.bundle_id, metadata_digest=digest)
        newer.clipped = clipped
        newer._reader = UserReader(bundle, retriever.known_users)
        return newer.limited(clock=time.time, mask=retriever._mask)
    source = as_source(items, "items")
    digest = source_digest(source, "items")
    table, counts = read_items(retriever.bundle, source)
    require_unchanged(source, "items", digest)
    live = retriever.live if retriever.live is not None else LiveItems(retriever.bundle.items)
    change = ChangedRows.of(
        retriever.bundle.items, retriever.bundle.encoder, table, base=live.base if instead else retriever.bundle.items,
        earlier=live.touched if instead else live.touched[:0], complete=complete,
    )  # fmt: skip
    require_some(change.items, named("items", source))
    newer = _changed(retriever, live, change)
    newer.metadata_digest, newer.clipped = files.digest({"items": digest}), counts.to_json("items")
    return folded(newer) if fold and is_due_to_fold(newer) else newer


def is_due_to_fold(retriever: Retriever) -> bool:
    """Whether the newer items beside the index are so many that it should be built again."""
    index = retriever.bundle.index if isinstance(retriever.bundle, Bundle) else None
    return isinstance(index, FreshIndex) and index.is_large


def folded(retriever: Retriever, index: ItemIndex | None = None) -> Retriever:
    """The same with the newer items in the index itself; answers stay as they are.

    index: One that ``whole`` has built meanwhile from this retriever's index, or an earlier one; None: build it now.
    """
    bundle = retriever.bundle
    if not isinstance(bundle, Bundle) or not isinstance(bundle.index, FreshIndex):
        return retriever
    main = whole(bundle.index) if index is None else index
    beside = bundle.index.onto(main)
    return _with_bundle(retriever, replace(bundle, index=beside if len(beside.positions) else main))


def _changed(retriever: Retriever, live: LiveItems, change: ChangedRows) -> Retriever:
    """The retriever after a change of some rows."""
    before = retriever.bundle
    assert isinstance(before, Bundle)
    transforms = before.encoder.item_transforms
    encoder = before.encoder.extended(change.items.get_column("item_id")[before.encoder.num_items :])
    features = encode_features(transforms, change.rows) if len(change.positions) else before.item_features.head(0)
    is_stale = np.ones(len(change.positions), bool)
    known = change.positions[change.positions <= before.encoder.num_items]
    if features.width:
        former = before.item_features[known - 1]
        is_stale[: len(known)] = (former.hash_rows() != features.head(len(known)).hash_rows()).to_numpy()
    else:
        is_stale[:] = False
    bundle = replace(
        before,
        encoder=encoder,
        items=change.items,
        item_features=with_rows(before.item_features, change.positions, features),
        item_counts=np.pad(before.item_counts, (0, encoder.num_items - before.encoder.num_items)),
    )
    moved = change.positions[is_stale]
    if len(moved) or before.encoder.num_items < encoder.num_items:
        bundle = replace(bundle, lexical=newer_lexical(before, change.items))
    if len(moved):
        device = choose_device(before.index.device)

        def features_of(positions: Int64) -> FeatureRows:
            table = FeatureTable.from_frame(transforms, bundle.item_features[positions - 1])
            return table.take(np.arange(1, len(positions) + 1)).to(device)

        if live.encoder is None:
            of_all = FeatureTable.from_frame(transforms, before.item_features)
            live = replace(live, encoder=ItemEncoder.of(on_device(device, before.model), of_all))
        assert live.encoder is not None
        encoded = live.encoder.encode(moved, encoder.num_items, features_of)
        moved, live = encoded.positions, replace(live, encoder=encoded.encoder)
        vectors = np.empty((encoder.num_items + 1, before.item_vectors.shape[1]), np.float32)
        vectors[: len(before.item_vectors)] = before.item_vectors
        vectors[moved] = encoded.vectors
        bundle = replace(bundle, item_vectors=vectors, index=FreshIndex.after(before.index, vectors, moved))
    newer = _with_bundle(retriever, bundle, moved)
    flagged = is_removed(change.items)
    flagged[: live.base.height] ^= is_removed(live.base)
    touched = np.union1d(np.union1d(live.touched, change.positions), 1 + np.flatnonzero(flagged))
    newer.live = replace(live, touched=touched.astype(np.int64))
    return newer


def _with_bundle(retriever: Retriever, bundle: Bundle, moved: Int64 | None = None) -> Retriever:
    """The same with another state of its bundle. moved: the positions whose vectors differ."""
    newer = Retriever(bundle, retriever.bundle_id, metadata_digest=retriever.metadata_digest)
    newer.clipped, newer.live, known = retriever.clipped, retriever.live, retriever.known_users
    if known is not None and moved is not None:
        known = known.moved(moved)
    newer._reader = UserReader(bundle, known)
    return newer.limited(clock=time.time, mask=retriever._mask)
