"""Ranks the catalogue for users, in catalogue positions: by the model, or by popularity where nothing is known.

Shape suffixes: Q users, K answers, N catalogue positions with 0 among them, D embedding_dim.
"""

from collections.abc import Callable, Sequence
from functools import cached_property, partial

import numpy as np
import numpy.typing as npt

from ..answers import MostPopular, Ranking, Where, conditions, falls_back, passing
from ..bundle import AnyBundle, Bundle
from ..data import Ids, Int32, Int64, Jagged, id_series, shown
from ..errors import InputError
from ..rankers import ItemItemRanker, Ranker, TwoTowerRanker
from .query import Options
from .request_users import RequestUsers

Search = Callable[..., Ranking]  # CatalogueRanker.rank with everything given but the users


class CatalogueRanker:
    """What a retriever does between ids and ids. Safe to share between threads."""

    def __init__(self, bundle: AnyBundle) -> None:
        self._bundle = bundle
        self.model: Ranker = TwoTowerRanker(bundle) if isinstance(bundle, Bundle) else ItemItemRanker(bundle)

    def search(self, options: Options) -> Search:
        """A search with these options. Raises InputError on bad ones."""
        num_wanted = self.at_most(options.k)
        if not isinstance(options.exclude_seen, bool | np.bool_):
            raise InputError(f"exclude_seen is {shown(options.exclude_seen)}; expected true or false")
        if options.per is not None or options.diversity != 0:
            raise InputError("per and diversity are not there yet; leave them out")
        allowed = self.allowed(options.where)
        if options.only is not None:
            is_listed = np.zeros(self._bundle.encoder.num_items + 1, bool)
            is_listed[self.positions(options.only)] = True
            is_listed[0] = False  # where an unknown id is
            allowed = is_listed if allowed is None else allowed & is_listed
        excluded = self.positions(options.exclude) if options.exclude is not None else None
        return partial(
            self.rank, k=num_wanted, exclude_seen=bool(options.exclude_seen), exclude=excluded, allowed=allowed
        )

    def rank_together(self, users: RequestUsers, searches: Sequence[tuple[Search, Int64]]) -> Ranking:
        """Encode users in one batch, then search. searches: each with the rows of its users."""
        vectors = self._encoded(users)
        parts = []
        for search, rows in searches:
            of_rows = None if vectors is None else vectors[rows]
            parts.append((rows, search(users.history.take(rows), vectors=of_rows)))
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
            k: At most the size of the catalogue.
            exclude_seen: Leave out the items of the history.
            exclude: Positions that nobody gets.
            allowed: [N] bool, what anybody may get; None: everything.
        """
        if exclude is not None and len(exclude):
            allowed = np.ones(self._bundle.encoder.num_items + 1, bool) if allowed is None else allowed.copy()
            allowed[exclude] = False
        fallback = falls_back(history)
        positions = np.zeros((len(history), k), np.int32)
        scores = np.full((len(history), k), -np.inf, np.float32)
        num_popular = np.zeros(len(history), np.int64)
        served = np.flatnonzero(~fallback)
        if len(served):
            known = history.take(served)
            if vectors is None:
                rows = np.zeros(len(served), np.int64) if user_rows is None else user_rows[served]
                of_served = self.model.encode(known, rows)
            else:
                of_served = vectors[served]
            top = self.model.rank(known, of_served, k=k, exclude_seen=exclude_seen, allowed=allowed)
            positions[served], scores[served] = top.positions, top.scores
            num_popular[served] = 0 if top.num_popular is None else top.num_popular
        if fallback.any():
            positions[fallback], scores[fallback] = self._most_popular.top(k, allowed)
        return Ranking(positions, scores, fallback, num_popular)

    def allowed(self, where: Where) -> npt.NDArray[np.bool_] | None:
        """[N] bool: whether the item at each catalogue position passes all conditions; None without conditions."""
        listed = conditions(where)
        if not listed:
            return None
        return np.concatenate(([False], passing(self._bundle.items, listed).to_numpy()))

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
