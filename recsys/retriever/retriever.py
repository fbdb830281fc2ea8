"""A loaded bundle that answers: items for users, similar items, search by text, and why. Raw ids in and out.

Shape suffixes: Q users, K answers, N catalogue positions, D embedding_dim.
"""

import time
from collections.abc import Mapping, Sequence
from copy import copy
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from ..answers import Explanation, Mask, Passages, Ranking, Recommendations, Where, as_passages, item_titles, titles_of
from ..bundle import AnyBundle, BaselineBundle, load_bundle
from ..data import AnySource, Ids, Int32, Int64, Jagged, as_list_column, as_source, id_series
from ..errors import InputError
from ..registry import resolve
from ..search import one_thread_if_few, require_threads
from ..text_encoders import EncodeTexts
from .catalogue_ranker import CatalogueRanker, Clock, Search
from .changed_rows import LiveItems
from .fresh_metadata import with_newest
from .known_users import KnownUsers
from .query import Query, QueryError, as_queries, by_options
from .request_users import RequestUsers, UserReader
from .user_columns import Columns


class Retriever:
    """A loaded bundle that answers. Safe to share between threads, but not with forks, which get an InputError."""

    def __init__(self, bundle: AnyBundle, bundle_id: str, *, metadata_digest: str | None = None) -> None:
        require_threads()
        self.bundle, self.bundle_id, self.metadata_digest = bundle, bundle_id, metadata_digest
        self.live: LiveItems | None = None  # what newer items need to know of earlier ones
        self.clipped: dict[str, int] = {}  # rows of newer metadata with more than was fitted on, by feature
        self._reader = UserReader(bundle, None)
        self._catalogue = CatalogueRanker(bundle)
        self._mask: Mask | None = None
        self._titles = item_titles(bundle.items, bundle.provenance.title or "title")

    @staticmethod
    def load(
        source: str | Path,
        *,
        events: AnySource | None = None,
        items: AnySource | None = None,
        users: AnySource | None = None,
        encode_ahead: bool = False,
        device: str = "cpu",
        registry_uri: str | None = None,
        mapped: bool = False,
        encoders: Mapping[str, EncodeTexts] | None = None,
    ) -> "Retriever":
        """Load a bundle.

        Tables are files, patterns or folders of files, or in memory: a DataFrame or LazyFrame of Polars, a DataFrame of
        pandas or a Table of pyarrow. Their columns have the names that they had in training.

        Args:
            source: A bundle folder, one in a bucket, ``models:/NAME@alias`` or ``models:/NAME/VERSION``.
            events: A log, whose users are then known by id.
            items: Today's item metadata, if the bundle's is stale: vectors are computed again, new items join as cold.
            users: Today's user metadata, likewise.
            encode_ahead: As for ``with_events``.
            device: Where a model encodes and searches: "cpu", "cuda", or "auto" for cuda where there is one.
            registry_uri: The MLflow registry behind ``models:/``; None for the default one.
            mapped: Share the bundle's memory with other processes that serve it, as ``load_bundle`` says.
            encoders: Encoders of text that may run, {"package.module:function": function}; a bundle only names them.

        Raises InputError for a damaged bundle (BundleError), an unknown model, or tables or encoders that do not fit.
        """
        require_threads()
        located = resolve(str(source), registry_uri)
        bundle, bundle_id = load_bundle(located.path, located.bundle_id, device, mapped=mapped, encoders=encoders)
        bundle.encoder.require_same_encoders()
        bundle, digest, clipped = with_newest(bundle, items=items, users=users)
        retriever = Retriever(bundle, bundle_id, metadata_digest=digest)
        retriever.clipped = clipped
        retriever = retriever.limited(clock=time.time)
        return retriever if events is None else retriever.with_events(events, encode_ahead=encode_ahead)

    def with_events(self, events: AnySource, *, encode_ahead: bool = False) -> "Retriever":
        """The same bundle with the users of another log, such as today's.

        Args:
            events: As for ``load``.
            encode_ahead: Compute the vectors of all its users now, so that answering a user by id is only a search.
                Vectors of users whose history this retriever has, and has encoded, are taken over.

        Raises:
            InputError: The log does not fit the bundle.
        """
        require_threads()
        other = copy(self)
        other._reader = UserReader(self.bundle, KnownUsers.read(self.bundle, as_source(events, "events")))
        return other.encoded_ahead(self) if encode_ahead else other

    def encoded_ahead(self, before: "Retriever | None" = None, most: int | None = None) -> "Retriever":
        """The same with the vectors of all known users, or ``most`` more, so that answering one is only a search.

        before: A retriever of the same items; what it has encoded of unchanged histories is taken over.
        """
        other, known = copy(self), None if before is None else before.known_users
        if self.baseline is None:
            other._reader = self._reader.encoded_ahead(self.encode, known, most)
        return other

    def limited(self, *, clock: Clock | None, mask: Mask | None = None) -> "Retriever":
        """The same, whose answers leave out items that are not available now, or are masked.

        Args:
            clock: The time in seconds since 1970, by which recsys/answers/availability.py decides what is there. None:
                everything is, as in an evaluation on the past. ``load`` takes the system's clock.
            mask: Items that nobody gets; None for none.
        """
        require_threads()
        other = copy(self)
        other._catalogue, other._mask = self._catalogue.limited(clock, mask), mask
        return other

    def recommend(
        self,
        histories: Sequence[Ids] | pl.Series | None = None,
        *,
        user_ids: Ids | None = None,
        recent: Sequence[Ids] | pl.Series | None = None,
        users: AnySource | None = None,
        k: int = 10,
        exclude_seen: bool = True,
        exclude: Ids | None = None,
        only: Ids | None = None,
        where: Where = (),
        per: Mapping[str, int] | None = None,
        diversity: float = 0.0,
    ) -> Recommendations:
        """Find the best items for each user: exactly ``k`` eligible ones, or fewer with the reason.

        A user of whom nothing is known, neither an item nor a column, gets the most popular eligible items.

        Args:
            histories: Lists of raw item ids, oldest first.
            user_ids: Users of the log given to ``load``. With ``histories``, these histories are used together with the
                metadata of these users.
            recent: Lists of raw item ids that follow the histories: what happened since the log was written.
            users: A table in memory, with a row for each user, of raw columns of these users; null where nothing is
                given. They count in place of what is known of ``user_ids``.
            k: Items per user.
            exclude_seen: Leave out the items of the history.
            exclude: Item ids that nobody gets.
            only: Item ids, of which all answers consist.
            where: (column, operator, value) on item columns; an item must pass all of them.
            per: The most items of an answer for each value of a column, by column.
            diversity: From 0, by score alone, towards 1, which items are chosen to be unlike each other.

        Raises:
            InputError: Bad arguments.
        """
        require_threads()
        options = Query(
            k=k, exclude_seen=exclude_seen, exclude=exclude, only=only, where=where, per=per, diversity=diversity
        )
        search, asking = self._catalogue.search(options), self._reader.read(histories, user_ids, recent, users)
        return self._respond(asking, [(search, k, np.arange(len(asking)))])

    def answer(self, queries: Sequence[Query]) -> Recommendations:
        """Answer requests of many kinds together, each as ``recommend`` would answer it alone.

        All users are encoded in one batch. Queries with equal options are searched for together.

        Raises:
            QueryError: A bad query, with its number.
        """
        require_threads()
        listed, searches = as_queries(queries), []
        for options, rows in by_options(listed):
            try:
                searches.append((self._catalogue.search(options), options.k, rows))
            except InputError as error:
                raise QueryError(int(rows[0]), error) from error
        return self._respond(self._reader.read_queries(listed), searches)

    def rank(
        self,
        history: Jagged,
        user_rows: Int64 | None = None,
        *,
        k: int,
        exclude_seen: bool = True,
        exclude: Int32 | None = None,
        allowed: npt.NDArray[np.bool_] | None = None,
    ) -> Ranking:
        """``recommend`` in catalogue positions; arguments are those of ``CatalogueRanker.rank``."""
        require_threads()
        return self._catalogue.rank(
            history, user_rows, k=k, exclude_seen=exclude_seen, exclude=exclude, allowed=allowed
        )

    def encode(self, history: Jagged, user_rows: Int64) -> npt.NDArray[np.float32]:
        """[Q, D] float32 user vectors of histories in catalogue positions; zeros where no item is known."""
        require_threads()
        vectors = self._catalogue.model.encode(history, user_rows)
        if vectors is None:
            raise InputError(
                f"this bundle serves a baseline, {self.baseline}, which has no user vectors; ask a bundle of two towers"
            )
        return vectors

    def allowed(self, where: Where) -> npt.NDArray[np.bool_] | None:
        """[N] bool: whether the item at each catalogue position passes all conditions; None without conditions."""
        require_threads()
        return self._catalogue.allowed(where)

    def similar_items(self, item_ids: Ids, *, k: int = 10, where: Where = ()) -> Recommendations:
        """Find the ``k`` items with the highest cosine similarity to each of ``item_ids``, the item itself left out."""
        require_threads()
        return self._answer(self._catalogue.similar(item_ids, k, where), k)

    def search_text(
        self, texts: Sequence[str], *, columns: Columns | None = None, k: int = 10, where: Where = ()
    ) -> Recommendations:
        """Find the ``k`` items whose texts say what each of ``texts`` says; recsys/rankers/text_search.py tells how.

        columns: What else is known of the items that are sought, such as {"year": [1950]}; None for some texts.
        """
        require_threads()
        return self._answer(self._catalogue.closest_to_texts(texts, columns, k, where), k)

    def passages(self, question: str, k: int = 5, *, where: Where = ()) -> Passages:
        """Find the ``k`` passages of documents that best fit a question, and their sources, by ``search_text``."""
        return as_passages(self.search_text([question], k=k, where=where), self.bundle.items)

    def explain(self, history: Ids | None = None, item_id: Any = None, *, user_id: Any = None) -> Explanation:
        """Explain a recommendation: what the item's score loses when one item of the history is left out.

        Where a trained user's own vector replaces an unordered history (``features.user_id``), no single item changes
        the score: all contributions are 0, except that of an only item.

        Args:
            history: Raw item ids, oldest first.
            item_id: The item to explain.
            user_id: A user of the log given to ``load``, instead of ``history`` or with it, as in ``recommend``.

        Raises:
            InputError: The item is unknown, or every item of the history.
        """
        require_threads()
        user = self._reader.read(None if history is None else [history], None if user_id is None else [user_id])
        terms = self._catalogue.terms(user, item_id)
        contributions = pl.DataFrame([
            self.bundle.encoder.ids(terms.positions).alias("item_id"),
            pl.Series("contribution", terms.contributions),
        ]).sort("contribution", descending=True, maintain_order=True)  # fmt: skip
        return Explanation(terms.score, terms.rank, contributions, self.bundle_id, self.metadata_digest)

    @property
    def known_users(self) -> KnownUsers | None:
        """The users of the log; None without one."""
        return self._reader.known

    @property
    def baseline(self) -> str | None:
        """The name of the baseline that answers, such as "EASE"; None where a model does."""
        return self.bundle.model.label if isinstance(self.bundle, BaselineBundle) else None

    def titles_of(self, item_ids: pl.Series) -> pl.Series:
        """[n] String: the titles of items by raw id, null where an item is unknown or has none."""
        require_threads()
        return titles_of(self._titles, item_ids)

    def user_rows(self, user_ids: pl.Series) -> Int64:
        """[n] int64 rows of the users' metadata, 0 where there is none. Raises InputError on ids of another type."""
        require_threads()
        return self._reader.user_rows(id_series(user_ids, "user"))

    def _respond(self, users: RequestUsers, searches: Sequence[tuple[Search, int, Int64]]) -> Recommendations:
        """Encode the users and search. searches: each with its k and the rows of its users."""
        num_wanted = np.zeros(len(users), np.int64)
        for _, k, rows in searches:
            num_wanted[rows] = min(k, self.bundle.encoder.num_items + 1)  # in 64 bits
        rank = partial(self._catalogue.rank_together, users, [(search, rows) for search, _, rows in searches])
        return self._answer(one_thread_if_few(len(users), rank), num_wanted)

    def _answer(self, ranking: Ranking, k: int | Int64) -> Recommendations:
        present = ranking.positions > 0
        offsets = np.concatenate(([0], np.cumsum(ranking.counts)))
        return Recommendations(
            item_ids=as_list_column(self.bundle.encoder.ids(ranking.positions[present]), offsets, "item_ids"),
            scores=as_list_column(pl.Series(ranking.scores[present]), offsets, "scores"),
            reasons=ranking.reasons(k).alias("reasons"),
            bundle_id=self.bundle_id,
            metadata_digest=self.metadata_digest,
            titles=self._titles,
            baseline=self.baseline,
            mask_version=None if self._mask is None else self._mask.version,
        )
