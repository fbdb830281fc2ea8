"""A loaded bundle that answers: items for users, similar items, search by text, and why. Raw ids in and out.

Shape suffixes: Q users, K answers, N catalogue positions, D embedding_dim.
"""

from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from ..answers import (
    Explanation,
    MostPopular,
    Ranking,
    Recommendations,
    Where,
    conditions,
    falls_back,
    item_titles,
    passing,
    titles_of,
)
from ..bundle import AnyBundle, BaselineBundle, Bundle, load_bundle
from ..data import (
    AnySource,
    Ids,
    Int32,
    Int64,
    Jagged,
    as_list_column,
    as_source,
    id_lists,
    id_series,
    is_list,
    lookup_user_rows,
    shown,
)
from ..errors import InputError
from ..rankers import ItemItemRanker, Ranker, Top, TwoTowerRanker
from ..registry import resolve
from ..search import one_thread_if_few, require_threads
from .fresh_metadata import with_newest
from .known_users import KnownUsers


class Retriever:
    """A loaded bundle that answers. Safe to share between threads, but not with forks, which get an InputError."""

    def __init__(
        self, bundle: AnyBundle, bundle_id: str, users: KnownUsers | None = None, metadata_digest: str | None = None
    ) -> None:
        require_threads()
        self.bundle = bundle
        self.bundle_id = bundle_id
        self.metadata_digest = metadata_digest
        self.clipped: dict[str, int] = {}  # rows of newer metadata with more than was fitted on, by feature
        self._users = users
        self._ranker: Ranker = TwoTowerRanker(bundle) if isinstance(bundle, Bundle) else ItemItemRanker(bundle)
        self._titles = item_titles(bundle.items)

    @staticmethod
    def load(
        source: str | Path,
        *,
        events: AnySource | None = None,
        items: AnySource | None = None,
        users: AnySource | None = None,
        device: str = "cpu",
        registry_uri: str | None = None,
        mapped: bool = False,
    ) -> "Retriever":
        """Load a bundle.

        Tables are files, patterns or folders of files, or in memory: a DataFrame or LazyFrame of Polars, a DataFrame of
        pandas or a Table of pyarrow. Their columns have the names that they had in training.

        Args:
            source: A bundle folder, ``models:/NAME@alias`` or ``models:/NAME/VERSION``.
            events: A log, whose users are then known by id.
            items: Today's item metadata, if the bundle's is stale. The vectors of known items are computed again, new
                items join the catalogue as cold items.
            users: Today's user metadata, likewise.
            device: Where users and new metadata are encoded and the index searches: "cpu", "cuda", or "auto" for cuda
                where there is one. A baseline stays on the CPU.
            registry_uri: The MLflow registry behind ``models:/``; None for the default one.
            mapped: Share the bundle's memory with other processes, as ``load_bundle`` says. For several workers that
                serve one bundle from a folder whose files nobody changes.

        Raises:
            InputError: A damaged bundle (BundleError), an unknown model, or metadata or events that do not fit.
        """
        require_threads()
        located = resolve(str(source), registry_uri)
        bundle, bundle_id = load_bundle(located.path, expected_id=located.bundle_id, device=device, mapped=mapped)
        bundle, digest, clipped = with_newest(bundle, items=items, users=users)
        known = KnownUsers.read(bundle, as_source(events, "events")) if events is not None else None
        retriever = Retriever(bundle, bundle_id, known, digest)
        retriever.clipped = clipped
        return retriever

    def recommend(
        self,
        histories: Sequence[Ids] | pl.Series | None = None,
        *,
        user_ids: Ids | None = None,
        k: int = 10,
        exclude_seen: bool = True,
        exclude: Ids | None = None,
        where: Where = (),
    ) -> Recommendations:
        """Find the best items for each user: exactly ``k`` eligible ones, or fewer with the reason.

        A user without a known item, by history or by id, gets the most popular eligible items.

        Args:
            histories: Lists of raw item ids, oldest first.
            user_ids: Users of the log given to ``load``. With ``histories``, these histories are used together with the
                metadata of these users.
            k: Items per user.
            exclude_seen: Leave out the items of the history.
            exclude: Item ids that nobody gets.
            where: (column, operator, value) on item columns; an item must pass all of them.

        Raises:
            InputError: Bad arguments.
        """
        require_threads()
        num_wanted = self._at_most(k)
        lists, user_rows = self._queries(histories, user_ids)
        excluded, allowed = self._positions(exclude) if exclude is not None else None, self.allowed(where)
        rank = partial(
            self.rank, lists, user_rows, k=num_wanted, exclude_seen=exclude_seen, exclude=excluded, allowed=allowed
        )
        return self._answer(one_thread_if_few(len(lists), rank), k)

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
        """``recommend`` in catalogue positions. user_rows: [Q] rows of the users' metadata, 0 for unknown users."""
        require_threads()
        if user_rows is None:
            user_rows = np.zeros(len(history), np.int64)
        if exclude is not None and len(exclude):
            allowed = np.ones(self.bundle.encoder.num_items + 1, bool) if allowed is None else allowed.copy()
            allowed[exclude] = False
        fallback = falls_back(history)
        positions = np.zeros((len(history), k), np.int32)
        scores = np.full((len(history), k), -np.inf, np.float32)
        num_popular = np.zeros(len(history), np.int64)
        served = np.flatnonzero(~fallback)
        if len(served):
            known, rows = history.take(served), user_rows[served]
            top = self._ranker.rank(known, rows, k=k, exclude_seen=exclude_seen, allowed=allowed)
            positions[served], scores[served] = top.positions, top.scores
            num_popular[served] = 0 if top.num_popular is None else top.num_popular
        if fallback.any():
            positions[fallback], scores[fallback] = self._most_popular.top(k, allowed)
        return Ranking(positions, scores, fallback, num_popular)

    def encode(self, history: Jagged, user_rows: Int64) -> npt.NDArray[np.float32]:
        """[Q, D] float32 user vectors of histories in catalogue positions; zeros where no item is known."""
        require_threads()
        return self._ranker.encode(history, user_rows)

    def allowed(self, where: Where) -> npt.NDArray[np.bool_] | None:
        """[N] bool: whether the item at each catalogue position passes all conditions; None without conditions."""
        require_threads()
        listed = conditions(where)
        if not listed:
            return None
        return np.concatenate(([False], passing(self.bundle.items, listed).to_numpy()))

    def similar_items(self, item_ids: Ids, *, k: int = 10, where: Where = ()) -> Recommendations:
        """Find the ``k`` items with the highest cosine similarity to each of ``item_ids``, the item itself left out."""
        require_threads()
        num_wanted, ids = self._at_most(k), id_series(item_ids, "item")
        positions = self.bundle.encoder.positions(ids)
        if not positions.all():
            missing = ids[int(np.argmin(positions))]
            raise InputError(f"item {missing!r} is not in the catalogue; expected ids of its items")
        return self._answer_top(self._ranker.similar(positions, k=num_wanted, allowed=self.allowed(where)), k)

    def search_text(self, texts: Sequence[str], *, k: int = 10, where: Where = ()) -> Recommendations:
        """Find the ``k`` items closest (by cosine) to where the model would place an item with only this text.

        Raises:
            InputError: The model has no text feature, or ``texts`` is no list of strings.
        """
        require_threads()
        num_wanted = self._at_most(k)
        listed: list[Any] = list(texts) if is_list(texts) else [None]
        if not all(isinstance(text, str) for text in listed):
            raise InputError(f"texts is {shown(texts)}; expected a list of strings")
        top = self._ranker.closest_to_texts(listed, k=num_wanted, allowed=self.allowed(where))
        return self._answer_top(top, k)

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
        lists, rows = self._queries(None if history is None else [history], None if user_id is None else [user_id])
        position = self._positions([item_id])[0]
        if not position or falls_back(lists)[0]:
            missing = f"item {item_id!r} is not in the catalogue" if not position else "no item of the history is known"
            raise InputError(f"nothing to explain: {missing}")
        terms = self._ranker.terms(lists, rows, position)
        contributions = pl.DataFrame([
            self.bundle.encoder.ids(terms.positions).alias("item_id"),
            pl.Series("contribution", terms.contributions),
        ]).sort("contribution", descending=True, maintain_order=True)  # fmt: skip
        return Explanation(terms.score, terms.rank, contributions, self.bundle_id, self.metadata_digest)

    @property
    def baseline(self) -> str | None:
        """The name of the baseline that answers, such as "EASE"; None where a model does."""
        return self.bundle.model.label if isinstance(self.bundle, BaselineBundle) else None

    def titles_of(self, item_ids: pl.Series) -> pl.Series:
        """[n] String: the titles of items by raw id, null where an item is unknown or has none."""
        require_threads()
        return titles_of(self._titles, item_ids)

    @cached_property
    def _most_popular(self) -> MostPopular:
        return MostPopular(self.bundle.item_counts)

    def _queries(self, histories: Sequence[Ids] | pl.Series | None, user_ids: Ids | None) -> tuple[Jagged, Int64]:
        users = id_series(user_ids, "user") if user_ids is not None else None
        if histories is not None:
            flat, lengths = id_lists(histories, self.bundle.encoder.item_ids.dtype)
            lists = Jagged.from_lengths(self.bundle.encoder.positions(flat), lengths)
            if users is None:
                return lists, np.zeros(len(lists), np.int64)
            if len(users) != len(lists):
                raise InputError(f"{len(users)} user_ids but {len(lists)} histories; expected one history a user")
            return lists, self.user_rows(users)
        if users is None:
            raise InputError("nobody to recommend to; give histories= or user_ids=")
        if self._users is None:
            raise InputError("users are known by id only after Retriever.load(bundle, events=LOG); or give histories=")
        return self._users.histories_of(users), self.user_rows(users)

    def user_rows(self, user_ids: pl.Series) -> Int64:
        """[n] int64 rows of the users' metadata, 0 where there is none. Raises InputError on ids of another type."""
        require_threads()
        return lookup_user_rows(id_series(user_ids, "user"), self.bundle.users.get_column("user_id"))

    def _positions(self, item_ids: Ids) -> Int32:
        return self.bundle.encoder.positions(id_series(item_ids, "item"))

    def _at_most(self, k: int) -> int:
        """``k``, or the size of the catalogue if that is smaller: no memory is spent on padding."""
        if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
            raise InputError(f"k is {shown(k)}; expected a whole number, at least 1")
        return min(int(k), self.bundle.encoder.num_items)

    def _answer_top(self, top: Top, k: int) -> Recommendations:
        return self._answer(Ranking(top.positions, top.scores, np.zeros(len(top.positions), bool)), k)

    def _answer(self, ranking: Ranking, k: int) -> Recommendations:
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
        )
