"""The service: one bundle at a time answers everybody, in batches, and a new one takes over between two batches."""

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from recsys.data import source_identities
from recsys.errors import InputError
from recsys.retriever import Query

from .batcher import Batcher
from .bundle_cache import BundleCache
from .follower import Follower, Refusal
from .served import Served

logger = logging.getLogger(__name__)
USERS_SECONDS = 5.0  # between two looks at the log


@dataclass(frozen=True)
class Settings:
    """How to serve.

    source: A bundle folder, ``models:/NAME@alias``, which is followed, or ``models:/NAME/VERSION``.
    events: The log whose users are known by id; read again when it changes.
    cache: Where bundles are kept, for the next start.
    device: See ``Retriever.load``.
    registry: The MLflow registry; None for the default one.
    seconds: How long a request may take.
    """

    source: str
    events: str | None = None
    cache: Path = Path("~/.cache/recsys")
    device: str = "cpu"
    registry: str | None = None
    seconds: float = 2.0


@dataclass(frozen=True)
class Answer:
    """The answer to one query, and who gave it.

    reason: why it is short or a fallback; None where it is neither.
    """

    item_ids: pl.Series
    scores: pl.Series
    reason: str | None
    served: Served


class Service:
    """Answers from threads and from asyncio. Use it as a context manager, or call ``close``."""

    def __init__(self, settings: Settings) -> None:
        """Load what is to serve; raises InputError if there is nothing that can."""
        self.settings = settings
        cache = BundleCache(settings.cache.expanduser())
        self.follower = Follower(settings.source, settings.registry, cache, settings.device, self._take_over)
        self._stop, self._taking_over = threading.Event(), threading.Lock()
        self._events_seen: object = None
        self._served = self._with_users(self.follower.start())
        self.swaps = 0
        self.on_batch: Callable[[int], None] = lambda num_queries: None  # told of each batch, for metrics
        self.batcher = Batcher[Query, Answer](self._answer)
        self._users_thread = threading.Thread(target=self._follow_users, daemon=True, name="follows the log")
        if settings.events is not None:
            self._users_thread.start()

    @property
    def served(self) -> Served:
        """What answers now."""
        return self._served

    @property
    def refused(self) -> Refusal | None:
        """The version that was offered last and not taken."""
        return self.follower.refused

    def recommend(self, query: Query) -> Answer:
        """Answer one query; it is computed together with those that other threads ask.

        Raises:
            InputError: A bad query.
            BusyError, LateError: Too many queries wait, or this one waited too long.
        """
        self.served.retriever.check(query)
        return self.batcher.submit(query, seconds=self.settings.seconds).result()

    async def recommend_async(self, query: Query) -> Answer:
        """``recommend`` for asyncio. Cancelling it costs nothing more, if the query still waits."""
        self.served.retriever.check(query)
        return await asyncio.wrap_future(self.batcher.submit(query, seconds=self.settings.seconds))

    async def recommend_all_async(self, queries: Sequence[Query]) -> list[Answer]:
        """Answer several queries, all of them or none."""
        return list(await asyncio.gather(*map(self.recommend_async, queries)))

    def close(self) -> None:
        """Answer what waits, then end all threads."""
        self._stop.set()
        self.follower.close()
        self.batcher.close()
        if self._users_thread.is_alive():
            self._users_thread.join()

    def __enter__(self) -> "Service":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _answer(self, queries: Sequence[Query]) -> list[Answer]:
        served = self._served  # read once: a batch is answered by one version
        answers = served.retriever.answer(queries)
        self.on_batch(len(queries))
        return [
            Answer(item_ids, scores, reason, served)
            for item_ids, scores, reason in zip(answers.item_ids, answers.scores, answers.reasons, strict=True)
        ]

    def _take_over(self, new: Served) -> None:
        with self._taking_over:
            self._served = self._with_users(new)
            self.swaps += 1
        logger.info("version %s serves, bundle %s", new.version, new.bundle_id[:12])

    def _with_users(self, served: Served) -> Served:
        events = self.settings.events
        if events is None:
            return served
        self._events_seen = source_identities(events, "events")
        return served.knowing(events)

    def _follow_users(self) -> None:
        while not self._stop.wait(USERS_SECONDS):
            try:
                if source_identities(str(self.settings.events), "events") != self._events_seen:
                    with self._taking_over:
                        self._served = self._with_users(self._served)
            except InputError as error:
                logger.error("the log is not read again: %s", error)
