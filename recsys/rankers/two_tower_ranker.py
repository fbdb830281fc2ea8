"""Two towers and an index: the inner product of a user's vector with the items' vectors ranks.

Shape suffixes: Q queries, K answers, N catalogue positions with 0 among them, D embedding_dim.
"""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch

from ..bundle import Bundle
from ..data import Int32, Int64, Jagged
from ..lexical import HybridIndex
from ..model import ColumnUpdate, PreparedEncoder, encode_histories
from ..search import ItemIndex, choose_device
from .ranker import Bool, Float32, Terms, Texts, Top
from .text_search import TextSearch


class TwoTowerRanker:
    """Ranks by the bundle's towers and index, on the index's device. Only texts, a few at a time, are always encoded on
    the CPU.
    """

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        # float64, so that an answer does not depend on who else is in the batch: float32 sums differ with the batch's
        # shape in the last digit, which is enough to swap near ties
        self._tower = bundle.model.for_users_only().double().to(choose_device(bundle.index.device))
        self._prepared = PreparedEncoder(self._tower) if PreparedEncoder.fits(self._tower) else None
        self._vectors = bundle.index.vectors()
        self._user_features = bundle.user_features()

    def rank(
        self,
        history: Jagged,
        vectors: Float32 | None,
        *,
        k: int,
        exclude_seen: bool,
        allowed: Bool | None,
        texts: Texts | None = None,
    ) -> Top:
        """The items with the highest inner products, found by the bundle's index.

        Where a text is all that is known of a user, its words count, too, by a weight that was chosen at publishing.
        """
        assert vectors is not None  # as ``encode`` returns them
        excluded = history if exclude_seen else None
        if texts is None or not self._bundle.mixes_words_for_users:
            return Top(*self._bundle.index.search(vectors, k, excluded=excluded, allowed=allowed))
        positions, scores = np.zeros((len(history), k), np.int32), np.full((len(history), k), -np.inf, np.float32)
        is_known = history.keep(history.values > 0).lengths > 0
        by_words = np.array([text is not None and not known for text, known in zip(texts, is_known, strict=True)], bool)
        for rows in (np.flatnonzero(by_words), np.flatnonzero(~by_words)):
            if len(rows):
                asked = [texts[row] or "" for row in rows.tolist()]
                index = self._with_words if by_words[rows[0]] else self._without_words
                barred = None if excluded is None else excluded.take(rows)
                positions[rows], scores[rows] = index.search(vectors[rows], asked, k, excluded=barred, allowed=allowed)
        return Top(positions, scores)

    def encode(self, history: Jagged, user_rows: Int64, updates: Sequence[ColumnUpdate] = ()) -> Float32:
        """[Q, D] user vectors; zeros where nothing is known of a user."""
        features = self._user_features
        if updates:
            features = features.updated(user_rows, self._bundle.model.spec, updates)
            user_rows = np.arange(len(user_rows))
        if self._prepared is not None:
            return self._prepared.encode(self._vectors, history, features, user_rows).float().numpy()
        vectors = encode_histories(self._tower, self._vectors, history, features, user_rows)
        return vectors.float().cpu().numpy()

    def similar(self, positions: Int32, *, k: int, allowed: Bool | None) -> Top:
        """The items with the highest cosine similarity."""
        itself = Jagged.from_lengths(positions, np.ones(len(positions), np.int64))
        return Top(*self._unit_index.search(self._unit_vectors[positions], k, excluded=itself, allowed=allowed))

    def closest_to_texts(
        self, texts: Sequence[str], updates: Sequence[ColumnUpdate], *, k: int, allowed: Bool | None
    ) -> Top:
        """The items whose texts, and other features that are given, say the same."""
        return self._texts.closest(texts, updates, k=k, allowed=allowed)

    def terms(self, history: Jagged, user_rows: Int64, position: int) -> Terms:
        """What the score loses when one item of the history is left out."""
        known = history.keep(history.values > 0).tail(self._bundle.model.spec.max_history)
        without = [np.delete(known.values, row) for row in range(len(known.values))]
        variants = Jagged.from_rows([known.values, *without])
        users = self.encode(variants, np.repeat(user_rows, len(variants))).astype(np.float64)
        scores = users @ self._bundle.item_vectors[position].astype(np.float64)
        ranked = users[0] @ self._bundle.item_vectors[1:].T.astype(np.float64)
        return Terms(
            score=float(scores[0]),
            rank=int((ranked > ranked[position - 1]).sum()) + 1,
            positions=known.values,
            contributions=scores[0] - scores[1:] if len(without) > 1 else scores[:1],
        )

    @cached_property
    def _with_words(self) -> HybridIndex:
        bundle, weights = self._bundle, self._bundle.text_weights
        assert weights is not None  # as the bundle says
        return HybridIndex(bundle.index, bundle.item_vectors, bundle.lexical, weights.words_of_users)

    @property
    def _without_words(self) -> HybridIndex:
        return HybridIndex(self._bundle.index, self._bundle.item_vectors, None, 0.0)

    @cached_property
    def _texts(self) -> TextSearch:
        return TextSearch(self._bundle).prepared()

    @cached_property
    def _unit_vectors(self) -> Float32:
        vectors = torch.from_numpy(self._bundle.item_vectors).double()
        return torch.nn.functional.normalize(vectors, dim=1).float().numpy()

    @cached_property
    def _unit_index(self) -> ItemIndex:
        return ItemIndex.build(self._unit_vectors, kind="exact", device=self._bundle.index.device)
