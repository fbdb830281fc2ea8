"""A bundle with today's metadata: new items and users can be served before the next training."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import polars as pl
import polars.selectors as cs
import torch

from .. import files
from ..answers import REMOVED
from ..bundle import AnyBundle, BaselineBundle, Bundle
from ..data import (
    OWN_ID,
    AnySource,
    MetadataCounts,
    Source,
    as_source,
    count_clipped,
    encode_features,
    joined_texts,
    named,
    read_metadata,
    require_unchanged,
    source_digest,
    with_own_id,
)
from ..errors import InputError
from ..lexical import LexicalIndex
from ..model import FeatureTable, KnownVectors, TwoTower, encode_catalogue
from ..search import ItemIndex, choose_device


def with_newest(
    bundle: AnyBundle, *, complete: bool = False, **tables: AnySource | None
) -> tuple[AnyBundle, str | None, dict[str, int]]:
    """``with_metadata`` for the tables that are not None, "items" or "users", read twice: once for their digest.

    complete: see ``with_metadata``.

    Returns:
        The bundle; the digest of the tables, None without any; and the counts of ``with_metadata``.

    Raises:
        InputError: A table changed while it was read.
    """
    metadata = {role: as_source(table, role) for role, table in tables.items() if table is not None}
    if not metadata:
        return bundle, None, {}
    digests = {role: source_digest(table, role) for role, table in metadata.items()}
    bundle, clipped = with_metadata(bundle, complete=complete, **metadata)
    for role, table in metadata.items():
        require_unchanged(table, role, digests[role])
    return bundle, files.digest(digests), clipped


def with_metadata(
    bundle: AnyBundle, *, items: Source | None = None, users: Source | None = None, complete: bool = False
) -> tuple[AnyBundle, dict[str, int]]:
    """The bundle with newer metadata; item vectors and index are computed again, in memory only, on the same device.

    A row of the new metadata replaces the bundle's row, column by column. Items, users and columns that the new
    metadata does not have stay as they are. Known items keep their catalogue position and their id row; if the model
    reads item features, unknown ones are appended as cold items, sorted by id. A baseline reads none: filters and
    titles change, its catalogue and its scores stay.

    Args:
        bundle: What to start from; it is not changed.
        items: A file of item metadata, or a table in memory, with the id column's name in the log.
        users: A file of user metadata, likewise.
        complete: Whether ``items`` is the whole catalogue: what it does not have is removed. A removed item is never
            recommended, but is still known in histories, until a row of it comes back.

    Returns:
        The new bundle; and how many rows of the new metadata hold more than their feature was fitted on, by the names
        that the counts of a build have: "clipped: items price".

    Raises:
        InputError: The metadata does not fit the bundle's.
    """
    counts: dict[str, int] = {}
    if users is not None:
        bundle, clipped = _with_users(bundle, users)
        counts = clipped.to_json("users")
    if items is None:
        return bundle, counts
    encoder = bundle.encoder
    catalogue, clipped = _updated_items(bundle, items, complete)
    if isinstance(bundle, BaselineBundle):
        return replace(bundle, items=catalogue), counts
    encoder = replace(encoder, item_ids=catalogue.get_column("item_id"))
    earlier = (bundle.items, bundle.item_features)
    item_features = encode_features(encoder.item_transforms, catalogue, earlier)
    table = FeatureTable.from_frame(encoder.item_transforms, item_features)
    spec, device = bundle.index.spec, choose_device(bundle.index.device)
    known = _known_vectors(bundle, item_features)
    vectors = encode_catalogue(on_device(device, bundle.model), table, encoder.num_items, device, known).cpu().numpy()
    index = ItemIndex.build(
        vectors, kind=spec.kind, target_recall=spec.target_recall or 1.0, device=bundle.index.device
    )
    item_counts = np.pad(bundle.item_counts, (0, len(vectors) - len(bundle.item_counts)))
    updated_bundle = replace(
        bundle, encoder=encoder, items=catalogue, item_features=item_features, item_counts=item_counts,
        item_vectors=vectors, index=index, lexical=newer_lexical(bundle, catalogue),
    )  # fmt: skip
    return updated_bundle, counts | clipped.to_json("items")


def newer_lexical(bundle: Bundle, items: pl.DataFrame) -> LexicalIndex | None:
    """The index of words over newer items: the same where no text differs. One item changes how rare all words are."""
    if bundle.lexical is None:
        return None
    texts, former = (joined_texts(bundle.encoder.item_transforms, one) for one in (items, bundle.items))
    return bundle.lexical if texts.equals(former, null_equal=True) else LexicalIndex.build(texts)


def _known_vectors(bundle: Bundle, features: pl.DataFrame) -> KnownVectors:
    """The vectors of a bundle, stale where an item's features differ.

    All cold items are stale if a trained one is: they borrow from the trained items with the most similar metadata.
    """
    num_items, num_trained = bundle.encoder.num_items, bundle.encoder.num_trained
    is_stale = np.zeros(num_items + 1, bool)
    if features.width:
        is_stale[1:] = (features.head(num_items).hash_rows() != bundle.item_features.hash_rows()).to_numpy()
    if is_stale[: num_trained + 1].any():
        is_stale[num_trained + 1 :] = True
    return KnownVectors(bundle.item_vectors, is_stale)


def on_device(device: torch.device, model: TwoTower) -> TwoTower:
    """The model on a device; a copy, unless it is there."""
    if device.type == "cpu":
        return model
    with torch.device("meta"):
        copied = TwoTower(model.spec)
    copied.load_state_dict({name: weight.to(device) for name, weight in model.state_dict().items()}, assign=True)
    return copied.eval().requires_grad_(False)


def _with_users(bundle: AnyBundle, source: Source) -> tuple[AnyBundle, MetadataCounts]:
    """The bundle with newer users, and what of them is clipped."""
    column, transforms = bundle.encoder.columns["user_id"] or "user_id", bundle.encoder.user_transforms
    dtype = bundle.users.schema["user_id"]
    columns_read = tuple(transform for transform in transforms if transform.name != OWN_ID.name)
    decimal = bundle.encoder.columns.get("decimal") or "."
    table = with_own_id(read_metadata(source, column, "user_id", dtype, columns_read, decimal=decimal).table)
    updated = pl.DataFrame([table.get_column("user_id"), *encode_features(transforms, table)])
    clipped = MetadataCounts(clipped=count_clipped(transforms, table))
    kept = ~bundle.users.get_column("user_id").is_in(updated.get_column("user_id").implode())
    users = pl.concat([updated, bundle.users.filter(kept)])
    if isinstance(bundle, BaselineBundle):
        return replace(bundle, users=users), clipped
    texts = pl.concat([joined_texts(transforms, table), bundle.texts_of_users().filter(kept)])
    return replace(bundle, users=users, user_texts=None if bundle.user_texts is None else texts), clipped


def _in_types_of(schema: pl.Schema, new: pl.DataFrame, source: Source) -> pl.DataFrame:
    """New metadata in the types of the bundle's. Raises InputError where that would change a value."""
    columns = []
    for column in new:
        dtype = schema.get(column.name, column.dtype)
        try:
            cast = column.cast(dtype)
            is_changed = dtype.is_integer() and column.dtype.is_float() and not cast.cast(column.dtype).equals(column)
            problem = f"{column.name} has fractions, where the bundle has {dtype}" if is_changed else None
        except pl.exceptions.PolarsError as error:
            problem = str(error).splitlines()[0]
        if problem is not None:
            raise InputError(
                f"{named('items', source)} do not fit the bundle's metadata: {problem}; expected its types: cast the "
                "column, or train again"
            )
        columns.append(cast)
    return pl.DataFrame(columns)


def read_items(bundle: AnyBundle, source: Source) -> tuple[pl.DataFrame, MetadataCounts]:
    """A table of items in the types of the bundle's metadata; and what of it is clipped.

    Raises:
        InputError: The table does not fit the bundle's metadata.
    """
    encoder, old = bundle.encoder, bundle.items
    column, transforms = encoder.columns["item_id"] or "item_id", encoder.item_transforms
    decimal = encoder.columns.get("decimal") or "."
    new = read_metadata(
        source, column, "item_id", encoder.item_ids.dtype, transforms, types=old.schema, decimal=decimal
    ).table
    new = _in_types_of(old.schema, new, source)
    return new, MetadataCounts(clipped=count_clipped(transforms, new))


def _updated_items(bundle: AnyBundle, source: Source, complete: bool) -> tuple[pl.DataFrame, MetadataCounts]:
    """item_id and raw metadata: known items in catalogue order, then new ones; and what of the new ones is clipped."""
    encoder, old = bundle.encoder, bundle.items
    new, clipped = read_items(bundle, source)
    unchanged = old.join(new, on="item_id", how="anti")
    new = new.join(
        old.select(cs.by_name("item_id"), cs.exclude(cs.by_name(new.columns, require_all=False))),
        on="item_id",
        how="left",
    )
    new_ids = new.join(old, on="item_id", how="anti").get_column("item_id").sort()
    ids = pl.concat([encoder.item_ids, new_ids]) if encoder.item_transforms else encoder.item_ids
    rows = pl.concat([unchanged, new], how="diagonal").select(
        cs.by_name(old.columns), cs.exclude(cs.by_name(old.columns))
    )
    updated = ids.to_frame().join(rows, on="item_id", how="left", maintain_order="left")
    updated = _with_removed(updated, new.get_column("item_id"), complete)
    require_some(updated, named("items", source))
    return updated, clipped


def require_some(items: pl.DataFrame, table: str) -> None:
    """Raise InputError if a complete table has removed every item. table: what it is called."""
    if is_removed(items).all():
        raise InputError(
            f"{table} hold none of the {items.height:,} items, which complete (--complete) would remove; expected the "
            "whole catalogue: look at the table, or leave complete out"
        )


def _with_removed(items: pl.DataFrame, present: pl.Series, complete: bool) -> pl.DataFrame:
    """Items of which those that are present are not removed; the others stay as they are, or all are if ``complete``.

    Where nothing is removed there is no column for it.
    """
    is_absent = ~items.get_column("item_id").is_in(present.implode())
    removed = is_absent if complete else is_absent & pl.Series(is_removed(items))
    return items.with_columns(removed.alias(REMOVED)) if removed.any() else items.drop(REMOVED, strict=False)


@dataclass(frozen=True)
class ItemChanges:
    """How a catalogue differs from an earlier one.

    added, changed, removed: numbers of items. An item that came back counts as changed. is_same: [known items] bool by
    row of the earlier catalogue, whether neither its metadata nor whether it is removed differs.
    """

    added: int
    changed: int
    removed: int
    is_same: npt.NDArray[np.bool_]

    @staticmethod
    def between(old: pl.DataFrame, new: pl.DataFrame) -> "ItemChanges":
        """Compare the items of a bundle with those of one that was made from it by ``with_metadata``."""
        added, known = new.height - old.height, new.head(old.height)
        was_removed, gone = (is_removed(items) for items in (old, known))
        columns = [name for name in known.columns if name != REMOVED]
        former = old.select(
            pl.col(name) if name in old.columns else pl.lit(None, known.schema[name]).alias(name) for name in columns
        )
        differs = (former.hash_rows() != known.select(columns).hash_rows()).to_numpy()
        removed = gone & ~was_removed
        changed = differs | (was_removed & ~gone)
        return ItemChanges(added, int((changed & ~removed).sum()), int(removed.sum()), ~(changed | removed))

    def __bool__(self) -> bool:
        return bool(self.added or not self.is_same.all())

    def __str__(self) -> str:
        return f"{self.added:,} items added, {self.changed:,} changed, {self.removed:,} removed"


def is_removed(items: pl.DataFrame) -> npt.NDArray[np.bool_]:
    """[num_items] bool: which items of a catalogue were removed from it."""
    column = items.get_column(REMOVED) if REMOVED in items.columns else pl.repeat(False, items.height, eager=True)
    return column.fill_null(False).to_numpy()
