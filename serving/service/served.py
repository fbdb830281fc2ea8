"""A bundle that is ready to serve: loaded, verified, warm, and its recorded answers given again."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import polars as pl

from recsys.answers import Mask
from recsys.bundle import Bundle
from recsys.data import shown
from recsys.errors import InputError
from recsys.retriever import GoldenAnswers, Retriever, folded, is_due_to_fold, with_items
from recsys.search import ItemIndex, whole
from recsys.text_encoders import EncodeTexts

SAMPLE = 64  # users whose encoding is timed
USERS_AT_ONCE, MOST_TURNS = 1 << 10, 64  # users who are encoded between two looks at the items, and how many such turns


@dataclass(frozen=True)
class Served:
    """What answers at a moment. A request uses one of these from start to end, so no answer mixes two.

    version: The number in the registry; None for a bundle folder. records: the folder of what was recorded when it was
    published, such as golden.json; None without one. since: seconds since 1970.
    """

    retriever: Retriever
    version: int | None
    records: Path | None = None
    since: float = field(default_factory=time.time)
    mask: Mask = field(default_factory=Mask)

    @property
    def bundle_id(self) -> str:
        """The bundle's."""
        return self.retriever.bundle_id

    @property
    def num_items(self) -> int:
        """The size of the catalogue."""
        return self.retriever.bundle.encoder.num_items

    @staticmethod
    def load(
        bundle: Path,
        bundle_id: str | None,
        records: Path | None,
        version: int | None,
        device: str,
        encoders: Mapping[str, EncodeTexts] | None = None,
    ) -> "Served":
        """Load a bundle, let it answer once so that nobody waits for its tables, and check its recorded answers.

        Args:
            bundle: Its folder.
            bundle_id: The only bundle that may be there; None if any will do.
            records: The folder of what was recorded when it was published; None if nothing was.
            version: Its number in the registry.
            device: See ``Retriever.load``.
            encoders: Likewise.

        Raises:
            InputError: It is damaged, another one, or answers differently from what was recorded, or an encoder of text
                is not among those that may run.
        """
        mapped = bundle_id is not None  # it is in the cache, where nobody cuts it
        retriever = Retriever.load(bundle, device=device, mapped=mapped, encoders=encoders)
        retriever.bundle.encoder.require_encoders()
        if bundle_id is not None and retriever.bundle_id != bundle_id:
            raise InputError(f"{bundle} holds bundle {retriever.bundle_id[:12]}; expected {bundle_id[:12]}")
        retriever.recommend([retriever.bundle.encoder.item_ids.head(2)] * 8, k=10)
        if records is not None and (records / GoldenAnswers.FILE).is_file():
            golden = GoldenAnswers.read(records)
            repeated = golden.num_repeated(retriever)
            if golden.bundle_id == retriever.bundle_id and repeated < len(golden.history):
                raise InputError(
                    f"bundle {bundle_id}: {repeated} of {len(golden.history)} recorded answers given again; expected "
                    "all: publish it again, or look for another version of a library"
                )
        return Served(retriever, version, records)

    def knowing(self, events: str, *, seconds: float) -> "Served":
        """The same with the users of a log, and with their vectors if they can be computed in so many seconds."""
        retriever = self.retriever.with_events(events)
        known = retriever.known_users
        assert known is not None
        sample, began = known.user_ids.head(SAMPLE), time.perf_counter()
        if retriever.baseline is None and len(sample):
            retriever.encode(known.take(known.rows(sample)), retriever.user_rows(sample))
            user_seconds = (time.perf_counter() - began) / len(sample)
            most = None if user_seconds * len(known.user_ids) < seconds else 0  # 0: only what is known already
            retriever = retriever.encoded_ahead(self.retriever, most)
        return replace(self, retriever=retriever)

    def encoded_ahead(self) -> "Served":
        """The same with the vectors of some more known users, so that new items need not wait for those of all."""
        known = self.retriever.known_users
        most = USERS_AT_ONCE if known is None else max(USERS_AT_ONCE, len(known.user_ids) // MOST_TURNS)
        return replace(self, retriever=self.retriever.encoded_ahead(self.retriever, most))

    @property
    def is_encoded_ahead(self) -> bool:
        """Whether answering any known user is only a search."""
        known = self.retriever.known_users
        is_whole = known is None or (known.vectors is not None and known.is_stale is None)
        return self.retriever.baseline is not None or is_whole

    def stocked(self, items: str) -> "Served":
        """The same with the items of a table, in place of what an earlier state of it said."""
        return replace(self, retriever=with_items(self.retriever, items, instead=True, fold=False))

    @property
    def is_due_to_fold(self) -> bool:
        """Whether so many items are newer than the index that it should be built again."""
        return is_due_to_fold(self.retriever)

    def folded_index(self) -> ItemIndex:
        """The index with all items in it, which takes minutes for some large catalogues."""
        assert isinstance(self.retriever.bundle, Bundle)
        return whole(self.retriever.bundle.index)

    def folded(self, index: ItemIndex) -> "Served":
        """The same on an index that ``folded_index`` has built for this or an earlier state of the items."""
        return replace(self, retriever=folded(self.retriever, index))

    def masked(self, mask: Mask) -> "Served":
        """The same without the items of a mask. Raises InputError if their ids can never be of this catalogue."""
        return replace(self, retriever=self.retriever.limited(clock=time.time, mask=mask), mask=mask)

    def is_of(self, other: "Served") -> bool:
        """Whether both were loaded together, whatever users and mask they have."""
        return self.retriever.bundle is other.retriever.bundle

    def item_columns(self, item_ids: pl.Series, columns: Sequence[str]) -> pl.DataFrame:
        """Metadata of items, a row per item. Raises InputError for a column that the catalogue does not have."""
        items = self.retriever.bundle.items
        for column in columns:
            if column not in items.columns:
                raise InputError(f"columns: no column {shown(column)}; the items have {', '.join(items.columns)}")
        return items[self.retriever.bundle.encoder.positions(item_ids) - 1].select(columns)
