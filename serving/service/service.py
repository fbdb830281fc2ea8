"""The service: one bundle at a time answers everybody, in batches, and a new one takes over between two batches."""

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import polars as pl

from recsys import files
from recsys.answers import Mask
from recsys.errors import InputError
from recsys.retriever import Query, QueryError
from recsys.search import ItemIndex
from recsys.text_encoders import import_functions

from .batcher import Batcher
from .bundle_cache import BundleCache
from .follower import Follower, Refusal
from .mask_file import MaskFile
from .served import Served
from .watched import Watched

logger = logging.getLogger(__name__)
TABLES_SECONDS = 5.0  # between two looks at the log and the items
MASK_SECONDS = 0.25  # and at the mask
AHEAD_SECONDS = 4.0  # for the vectors of known users, before a version takes over; where that is too short, afterwards


@dataclass(frozen=True)
class Settings:
    """How to serve.

    source: A bundle folder, ``models:/NAME@alias``, which is followed, or ``models:/NAME/VERSION``.
    events: The log whose users are known by id; read again when it changes.
    items: A table of items, newer than the bundle's; read again when it changes.
    cache: Where bundles are kept, for the next start.
    device: See ``Retriever.load``.
    registry: The MLflow registry; None for the default one.
    seconds: How long a request may take.
    mask: The file of the items that may not be recommended for now; None for one in the cache.
    log: The folder of the request log; None for no log.
    log_days: After how many days a file of it is deleted.
    log_users: Whether it keeps who asked.
    encoders: Functions that may encode text, as "package.module:function".
    """

    source: str
    events: str | None = None
    items: str | None = None
    cache: Path = Path("~/.cache/recsys")
    device: str = "cpu"
    registry: str | None = None
    seconds: float = 2.0
    mask: Path | None = None
    log: Path | None = None
    log_days: int = 30
    log_users: bool = True
    encoders: tuple[str, ...] = ()

    @property
    def mask_path(self) -> Path:
        """Where the mask is, or would be."""
        named = files.digest(self.registry, self.source)[:16]
        return self.mask or self.cache.expanduser() / "masks" / f"{named}.json"


@dataclass(frozen=True)
class Answer:
    """The answer to one query, and who gave it.

    reason: why it is short or a fallback; None where it is neither. mask_version: of the mask that was kept.
    """

    item_ids: pl.Series
    scores: pl.Series
    reason: str | None
    served: Served
    mask_version: int | None = None


class Service:
    """Answers from threads and from asyncio. Use it as a context manager, or call ``close``."""

    def __init__(self, settings: Settings) -> None:
        """Load what is to serve; raises InputError if there is nothing that can."""
        self.settings = settings
        cache = BundleCache(settings.cache.expanduser())
        load = partial(Served.load, device=settings.device, encoders=import_functions(settings.encoders))
        self.follower = Follower(settings.source, settings.registry, cache, load, self._take_over)
        self._stop, self._taking_over = threading.Event(), threading.Lock()
        self._log = Watched("events", settings.events, partial(Served.knowing, seconds=AHEAD_SECONDS))
        self._items = Watched("items", settings.items, Served.stocked)
        self._mask_file = MaskFile(settings.mask_path)
        self._mask = self._mask_file.read()
        self._loaded = self.follower.start()  # without items and users from elsewhere
        self._served = self._with_tables(self._loaded).masked(self._mask)
        self._folding: threading.Thread | None = None
        self._folded: tuple[Served, ItemIndex] | None = None  # an index for what was loaded then
        self.swaps = 0
        self.on_batch: Callable[[int], None] = lambda num_queries: None  # told of each batch, for metrics
        self.batcher = Batcher[Query, Answer](self._answer)
        self._tables_thread = threading.Thread(target=self._follow_tables, daemon=True, name="follows the tables")
        if settings.events is not None or settings.items is not None:
            self._tables_thread.start()
        self._mask_thread = threading.Thread(target=self._follow_mask, daemon=True, name="follows the mask")
        self._mask_thread.start()

    @property
    def served(self) -> Served:
        """What answers now."""
        return self._served

    @property
    def refused(self) -> Refusal | None:
        """The version that was offered last and not taken."""
        return self.follower.refused

    @property
    def items_fault(self) -> str | None:
        """Why the table of items could not be read the last time; None if it could."""
        return self._items.fault

    @property
    def mask(self) -> Mask:
        """The items that may not be recommended now."""
        return self._mask

    def put_mask(self, item_ids: Sequence[int | str]) -> Mask:
        """Let nobody get these items from now on; every process that follows the same file does so within a second.

        Raises:
            InputError: The ids can never be of this catalogue, or the file cannot be written.
        """
        self.served.masked(Mask(item_ids=tuple(item_ids)))
        mask = self._mask_file.replace(item_ids)
        self._take_mask(mask)
        return mask

    def require_room(self) -> None:
        """Raise BusyError where a query that is asked now would be refused, before the caller makes one."""
        self.batcher.require_room(self.settings.seconds)

    def recommend(self, query: Query) -> Answer:
        """Answer one query; it is computed together with those that other threads ask.

        Raises:
            InputError: A bad query.
            BusyError, LateError: Too many queries wait, or this one waited too long.
        """
        return self.batcher.submit(query, seconds=self.settings.seconds).result()

    async def recommend_async(self, query: Query) -> Answer:
        """``recommend`` for asyncio. Cancelling it costs nothing more, if the query still waits."""
        return await self.batcher.submit_async(query, seconds=self.settings.seconds)

    async def recommend_all_async(self, queries: Sequence[Query]) -> list[Answer]:
        """Answer several queries, all of them or none."""
        answers = [asyncio.ensure_future(self.recommend_async(query)) for query in queries]
        try:
            return list(await asyncio.gather(*answers))
        finally:
            for answer in answers:
                answer.cancel()

    def close(self) -> None:
        """Answer what waits, then end all threads."""
        self._stop.set()
        self.follower.close()
        self.batcher.close()
        self._mask_thread.join()
        if self._tables_thread.is_alive():
            self._tables_thread.join()

    def __enter__(self) -> "Service":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _answer(self, queries: Sequence[Query]) -> list[Answer | Exception]:
        served = self._served  # read once: a batch is answered by one version
        outcomes: list[Answer | Exception | None] = [None] * len(queries)
        rows = list(range(len(queries)))
        while rows:
            try:
                answers = served.retriever.answer([queries[row] for row in rows])
            except QueryError as error:  # it fails alone
                outcomes[rows.pop(error.number)] = error.reason
                continue
            except Exception as error:  # a bug, which one query may provoke: then it fails alone too
                if len(queries) > 1:
                    return [self._answer([query])[0] for query in queries]
                return [error]
            for row, items, scores, reason in zip(rows, answers.item_ids, answers.scores, answers.reasons, strict=True):
                outcomes[row] = Answer(items, scores, reason, served, answers.mask_version)
            break
        self.on_batch(len(queries))
        return [outcome for outcome in outcomes if outcome is not None]

    def _take_over(self, new: Served) -> None:
        known = self._with_tables(new)
        with self._taking_over:
            self._loaded, self._served = new, known.masked(self._mask)
            self.swaps += 1
        logger.info("version %s serves, bundle %s", new.version, new.bundle_id[:12])

    def _with_tables(self, loaded: Served) -> Served:
        """With the items, then the users. Items that cannot be read leave the bundle's own; users are required."""
        try:
            stocked = self._items.added_to(loaded)
        except InputError as error:
            logger.error("the items are not read: %s", error)
            stocked = loaded
        return self._log.added_to(stocked)

    def _follow_tables(self) -> None:
        while not self._stop.wait(TABLES_SECONDS):
            try:
                self._look_at_tables()
            except Exception as error:  # said once for each change of the files; what was read before goes on
                logger.error("the items or the log are not read again: %s", error)

    def _look_at_tables(self) -> None:
        """Read again what has changed: all rows of an item change in one swap, so that no answer mixes two.

        New items are served before anything that takes longer: the log, in which they may be, and users' vectors.
        """
        loaded, served = self._loaded, self._served
        if self._items.has_changed():
            stocked = self._items.added_to(served)
            if stocked.num_items > served.num_items:
                self._log.forget()
            served = self._swap(loaded, stocked)
        if self._log.has_changed():
            served = self._swap(loaded, self._log.added_to(served))
        served = self._fold(loaded, served)
        while not (served.is_encoded_ahead or self._items.has_changed() or self._stop.is_set()):
            if self._loaded is not loaded:
                return
            served = self._swap(loaded, served.encoded_ahead())

    def _swap(self, loaded: Served, new: Served) -> Served:
        """Serve the same version with other tables, unless another has taken over meanwhile; returns what serves."""
        with self._taking_over:
            if self._loaded is loaded:
                self._served = new.masked(self._mask)
            return self._served

    def _fold(self, loaded: Served, served: Served) -> Served:
        """Build the index again in a thread of its own, once many items are newer; returns what serves."""
        if self._folding is not None and self._folding.is_alive():
            return served
        if self._folded is not None and self._folded[0] is loaded:
            served = self._swap(loaded, served.folded(self._folded[1]))
        self._folded = None
        if served.is_due_to_fold:
            self._folding = threading.Thread(target=self._build_index, args=(loaded, served), daemon=True, name="folds")
            self._folding.start()
        return served

    def _build_index(self, loaded: Served, served: Served) -> None:
        self._folded = loaded, served.folded_index()

    def _take_mask(self, mask: Mask) -> None:
        with self._taking_over:
            self._mask, self._served = mask, self._served.masked(mask)
        logger.info("mask %d leaves out %d items", mask.version, len(mask.item_ids))

    def _follow_mask(self) -> None:
        while not self._stop.wait(MASK_SECONDS):
            try:
                if self._mask_file.has_changed():
                    self._take_mask(self._mask_file.read())
            except InputError as error:  # said once for each change of the file; the mask before it goes on
                logger.error("the mask is not taken: %s", error)
