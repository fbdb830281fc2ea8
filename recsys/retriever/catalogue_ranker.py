"""Ranks the catalogue for users, in catalogue positions: by the model, or by popularity where nothing is known.

Shape suffixes: Q users, K answers, N catalogue positions with 0 among them, D embedding_dim.
"""

from collections.abc import Callable, Sequence
from copy import copy
from functools import cached_property, partial, reduce
from operator import and_
from typing import Any

import numpy as np
import numpy.typing as npt

from ..answers import (
    Availability,
    Limit,
    Limits,
    Mask,
    MostPopular,
    Ranking,
    Where,
    choose,
    conditions,
    falls_back,
    passing,
    require_diversity,
)
from ..bundle import AnyBundle, Bundle
from ..data import Ids, Int32, Int64, Jagged, id_series, is_list, shown
from ..errors import InputError
from ..rankers import ItemItemRanker, Ranker, Terms, Texts, Top, TwoTowerRanker
from ..search import unit_rows
from .query import Query
from .request_users import RequestUsers, texts_of_rows
from .user_columns import Columns, encode_item_columns

Clock = Callable[[], float]
Search = Callable[..., Ranking]  # CatalogueRanker.rank with everything given but the users

POOL = 10  # candidates for each item of an answer, where items are chosen one after the other


class CatalogueRanker:
    """What a retriever does between ids and ids. Safe to share between threads."""

    def __init__(self, bundle: AnyBundle) -> None:
        self._bundle = bundle
        self._limits = Limits(bundle.items)
        self._clock: Clock | None = None
        self._offered = Availability.offered(bundle.items)
        self._unmasked: npt.NDArray[np.bool_] | None = None
        self.model: Ranker = TwoTowerRanker(bundle) if isinstance(bundle, Bundle) else ItemItemRanker(bundle)

    def search(self, options: Query) -> Search:
        """A search with the options of a query, whoever asks. Raises InputError on bad ones."""
        num_wanted = self.at_most(options.k)
        if not isinstance(options.exclude_seen, bool | np.bool_):
            raise InputError(f"exclude_seen is {shown(options.exclude_seen)}; expected true or false")
        limits, diversity = self._limits.of(options.per), require_diversity(options.diversity)
        if diversity and not isinstance(self._bundle, Bundle):
            raise InputError("diversity compares item vectors, which a baseline has not; leave it out")
        allowed = self.allowed(options.where)
        if options.only is not None:
            is_listed = np.zeros(self._bundle.encoder.num_items + 1, bool)
            is_listed[self.positions(options.only)] = True
            is_listed[0] = False  # where an unknown id is
            allowed = is_listed if allowed is None else allowed & is_listed
        excluded = self.positions(options.exclude) if options.exclude is not None else None
        rank = partial(self.rank, exclude_seen=bool(options.exclude_seen), exclude=excluded, allowed=allowed)
        if limits or diversity:
            return partial(self._choose, rank, num_wanted, limits, diversity)
        return partial(rank, k=num_wanted)

    def limited(self, clock: Clock | None, mask: Mask | None) -> "CatalogueRanker":
        """The same with what is not available now, or is masked, left out of every answer.

        Args:
            clock: The time in seconds since 1970; None: items are there whatever ``available_from`` and
                ``available_until`` say, as for an evaluation on the past.
            mask: The items that nobody gets; None: none.
        """
        other = copy(self)
        other._clock = clock if Availability.limits(self._bundle.items) else None
        other._unmasked = None
        if mask is not None and mask.item_ids:
            other._unmasked = np.ones(self._bundle.encoder.num_items + 1, bool)
            other._unmasked[self.positions(mask.item_ids)] = False
            other._unmasked[0] = False
        return other

    def _choose(
        self, rank: Search, k: int, limits: Sequence[Limit], diversity: float, history: Jagged,
        vectors: npt.NDArray[np.float32] | None = None, texts: Texts | None = None,
    ) -> Ranking:  # fmt: skip
        """Choose answers from the best POOL * k eligible items; from more where the limits leave fewer than ``k``."""
        num_items, chosen = self._bundle.encoder.num_items, Ranking.empty(len(history), k)
        pending, pool = np.arange(len(history)), min(POOL * k, num_items)
        while len(pending):
            of_pending = None if texts is None else [texts[query] for query in pending.tolist()]
            ranked = rank(
                history.take(pending), vectors=None if vectors is None else vectors[pending], texts=of_pending, k=pool
            )
            is_settled = np.ones(len(pending), bool)
            for row, query in enumerate(pending.tolist()):
                positions_C, scores_C = ranked.positions[row, : ranked.counts[row]], ranked.scores[row]
                unit_CD = self._unit_vectors(positions_C) if diversity else None
                best = choose(positions_C, scores_C[: len(positions_C)], k, limits, diversity, unit_CD)
                is_settled[row] = len(best) == k or len(positions_C) < pool or pool == num_items
                if is_settled[row]:
                    chosen.take_over(query, ranked, row, best)
            pending, pool = pending[~is_settled], min(4 * pool, num_items)
        return chosen

    def _unit_vectors(self, positions: Int32) -> npt.NDArray[np.float32]:
        assert isinstance(self._bundle, Bundle)
        return unit_rows(self._bundle.item_vectors[positions])

    def rank_together(self, users: RequestUsers, searches: Sequence[tuple[Search, Int64]]) -> Ranking:
        """Encode users in one batch, then search. searches: each with the rows of its users."""
        vectors = self._encoded(users)
        parts = []
        for search, rows in searches:
            of_rows = None if vectors is None else vectors[rows]
            texts = None if users.texts is None else [users.texts[row] for row in rows.tolist()]
            parts.append((rows, search(users.history.take(rows), vectors=of_rows, texts=texts)))
        return Ranking.merged(parts, len(users))

    def _encoded(self, users: RequestUsers) -> npt.NDArray[np.float32] | None:
        """The vectors of users, computed unless they have been."""
        if users.encoded is None or users.vectors is None:
            return self.model.encode(users.history, users.rows, users.updates)
        missing = np.setdiff1d(np.arange(len(users)), users.encoded)
        if not len(missing):
            return users.vectors
        rest = users.take(missing)
        vectors = np.empty((len(users), users.vectors.shape[1]), np.float32)
        vectors[users.encoded], vectors[missing] = (
            users.vectors,
            self.model.encode(rest.history, rest.rows, rest.updates),
        )
        return vectors

    def rank(
        self,
        history: Jagged,
        user_rows: Int64 | None = None,
        *,
        vectors: npt.NDArray[np.float32] | None = None,
        texts: Texts | None = None,
        k: int,
        exclude_seen: bool = True,
        exclude: Int32 | None = None,
        allowed: npt.NDArray[np.bool_] | None = None,
    ) -> Ranking:
        """Find the best items for each user.

        Args:
            history: [Q] rows of positions, oldest first; 0 is an unknown item.
            user_rows: [Q] rows of the users' metadata, 0 for unknown users; None: all are.
            vectors: [Q, D] of these users, if they have been encoded.
            texts: [Q] of these users, None where there is none; None: those of the metadata.
            k: At most the size of the catalogue.
            exclude_seen: Leave out the items of the history.
            exclude: Positions that nobody gets.
            allowed: [N] bool, what anybody may get; None: everything.
        """
        allowed = self._and_there(allowed)
        if exclude is not None and len(exclude):
            allowed = np.ones(self._bundle.encoder.num_items + 1, bool) if allowed is None else allowed.copy()
            allowed[exclude] = False
        if vectors is None:
            rows = np.zeros(len(history), np.int64) if user_rows is None else user_rows
            vectors = self.model.encode(history, rows)
        if texts is None and user_rows is not None:
            texts = texts_of_rows(self._bundle, user_rows)
        fallback = falls_back(history, vectors)
        positions = np.zeros((len(history), k), np.int32)
        scores = np.full((len(history), k), -np.inf, np.float32)
        num_popular = np.zeros(len(history), np.int64)
        served = np.flatnonzero(~fallback)
        if len(served):
            known, of_served = history.take(served), None if vectors is None else vectors[served]
            asked = None if texts is None else [texts[row] for row in served.tolist()]
            top = self.model.rank(known, of_served, k=k, exclude_seen=exclude_seen, allowed=allowed, texts=asked)
            positions[served], scores[served] = top.positions, top.scores
            num_popular[served] = 0 if top.num_popular is None else top.num_popular
        if fallback.any():
            positions[fallback], scores[fallback] = self._most_popular.top(k, allowed)
        return Ranking(positions, scores, fallback, num_popular)

    def similar(self, item_ids: Ids, k: int, where: Where) -> Ranking:
        """The items most like each of these. Raises InputError if one of them is unknown."""
        ids = id_series(item_ids, "item")
        positions = self._bundle.encoder.positions(ids)
        if not positions.all():
            missing = ids[int(np.argmin(positions))]
            raise InputError(f"item {missing!r} is not in the catalogue; expected ids of its items")
        return _of_items(self.model.similar(positions, k=self.at_most(k), allowed=self.allowed(where)))

    def closest_to_texts(self, texts: Sequence[str], columns: Columns | None, k: int, where: Where) -> Ranking:
        """The items closest to each text. Raises InputError unless these are strings, and the model reads text."""
        listed: list[Any] = list(texts) if is_list(texts) else [None]
        if not all(isinstance(text, str) for text in listed):
            raise InputError(f"texts is {shown(texts)}; expected a list of strings")
        updates = []
        if columns is not None and isinstance(self._bundle, Bundle):  # a baseline refuses every text
            updates = encode_item_columns(self._bundle.encoder.item_transforms, columns, len(listed))
        allowed = self.allowed(where)
        return _of_items(self.model.closest_to_texts(listed, updates, k=self.at_most(k), allowed=allowed))

    def terms(self, user: RequestUsers, item_id: object) -> Terms:
        """What makes up an item's score for a user. Raises InputError if either is unknown."""
        position = self.positions([item_id])[0]
        if not position or falls_back(user.history, None)[0]:
            missing = f"item {item_id!r} is not in the catalogue" if not position else "no item of the history is known"
            raise InputError(f"nothing to explain: {missing}")
        return self.model.terms(user.history, user.rows, int(position))

    def allowed(self, where: Where) -> npt.NDArray[np.bool_] | None:
        """[N] bool: which items pass the conditions and are there; None if all do."""
        listed = conditions(where)
        anything = isinstance(listed, list) and not listed  # {} is a mistake, and gets its error
        passed = None if anything else np.concatenate(([False], passing(self._bundle.items, listed).to_numpy()))
        return self._and_there(passed)

    def _and_there(self, allowed: npt.NDArray[np.bool_] | None) -> npt.NDArray[np.bool_] | None:
        """What is allowed and neither masked nor unavailable now."""
        available = None if self._clock is None else self._availability.at(self._clock())
        limits = [limit for limit in (allowed, self._offered, self._unmasked, available) if limit is not None]
        return reduce(and_, limits) if limits else None

    @cached_property
    def _availability(self) -> Availability:
        return Availability(self._bundle.items)

    def positions(self, item_ids: Ids) -> Int32:
        """Catalogue positions of raw ids, 0 for unknown ones."""
        return self._bundle.encoder.positions(id_series(item_ids, "item"))

    def at_most(self, k: int) -> int:
        """``k``, or the size of the catalogue if that is smaller: no memory is spent on padding."""
        if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
            raise InputError(f"k is {shown(k)}; expected a whole number, at least 1")
        return min(int(k), self._bundle.encoder.num_items)

    @cached_property
    def _most_popular(self) -> MostPopular:
        return MostPopular(self._bundle.item_counts)


def _of_items(top: Top) -> Ranking:
    """The answers to items or texts, for which nothing popular stands in."""
    return Ranking(top.positions, top.scores, np.zeros(len(top.positions), bool), own_reasons=top.reasons)
