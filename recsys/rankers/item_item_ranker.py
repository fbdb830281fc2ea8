"""An item-item matrix ranks: the items of a history add their rows, and popularity decides where they say nothing.

The order is total. Items come by score. Among those with a score of 0, about which the history says nothing, the more
popular ones come first. Items without a training event come last: they take the lowest score of the row, if that is
below 0. All other ties go to the lower position. Where popularity alone serves, the matrix is empty, and an item's
score is its share of the training events.

Shape suffixes: Q queries, K answers, N catalogue positions with 0 among them, B queries of a block.
"""

from collections.abc import Callable, Sequence

import numpy as np

from ..bundle import BaselineBundle
from ..data import Int32, Int64, Jagged
from ..errors import InputError
from ..item_item import Bool, Scores, best, event_weights
from ..model import ColumnUpdate
from .ranker import Float32, Terms, Texts, Top

CELLS = 2**22  # numbers in a dense block of scores: bounds the memory of a batch to some 100 MB
TINY = 1e-60  # in float64: a catalogue of these still lies between 0 and the smallest number of float32

Scored = tuple[Scores, Scores]  # [B, N] float32 scores, and [B, N] float64 keys, which order the items


class ItemItemRanker:
    """Ranks by the bundle's item-item model."""

    def __init__(self, bundle: BaselineBundle) -> None:
        self._model, self._label, counts_N = bundle.model, bundle.model.label, bundle.item_counts
        self._is_popularity = bundle.model.only_popularity  # looks at the whole matrix
        self._is_cold_N = counts_N == 0
        place_N = np.empty(len(counts_N))  # 1 for the most popular item, 2 for the next
        place_N[1 + np.argsort(-counts_N[1:], kind="stable")] = np.arange(1, len(counts_N))
        place_N[0] = len(counts_N)
        self._handicap_N = TINY * place_N
        self._share_N = (counts_N / max(1, counts_N[1:].sum())).astype(np.float32)

    def encode(self, history: Jagged, user_rows: Int64, updates: Sequence[ColumnUpdate] = ()) -> Float32 | None:
        """None: there are no user vectors."""
        return None

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
        """The items with the highest scores. Where the history is silent, popular items fill the answer up."""

        def scored(rows_B: Int64) -> Scored:
            block = history.take(rows_B)
            score_BN, key_BN = self._scores(block)
            if exclude_seen:
                key_BN[block.row_of_value, block.values] = -np.inf
            return score_BN, key_BN

        return self._top(len(history), k, allowed, scored)

    def similar(self, positions: Int32, *, k: int, allowed: Bool | None) -> Top:
        """The items to which an item's row gives the highest weights, all of them above 0."""
        if self._is_popularity:
            raise self._unable("knows no similar items")

        def scored(rows_B: Int64) -> Scored:
            weight_BN = self._model.rows(positions[rows_B])
            return weight_BN, np.where(weight_BN > 0, weight_BN, -np.inf)

        return self._top(len(positions), k, allowed, scored)

    def closest_to_texts(
        self, texts: Sequence[str], updates: Sequence[ColumnUpdate], *, k: int, allowed: Bool | None
    ) -> Top:
        """Refused: no text is read."""
        raise self._unable("reads no text")

    def terms(self, history: Jagged, user_rows: Int64, position: int) -> Terms:
        """The terms of the sum that is the item's score."""
        score_BN, key_BN = self._scores(history)
        known = history.values > 0
        weights = event_weights(history, self._model.half_life)[known].astype(np.float64)
        items = history.values[known]
        return Terms(
            score=float(score_BN[0, position]),
            rank=int((key_BN[0, 1:] > key_BN[0, position]).sum()) + 1,
            positions=items,
            contributions=weights * self._model.rows(items)[:, position],
        )

    def _scores(self, history: Jagged) -> Scored:
        """The scores of whole histories, nothing left out."""
        score_BN = self._model.scores(history)
        key_BN = score_BN.astype(np.float64)
        np.subtract(key_BN, self._handicap_N, out=key_BN, where=score_BN == 0)
        if self._is_popularity:
            return np.broadcast_to(self._share_N, score_BN.shape), key_BN
        lowest_B = score_BN.min(axis=1)
        row, cold = np.flatnonzero(lowest_B < 0)[:, None], np.flatnonzero(self._is_cold_N)
        score_BN[row, cold] = key_BN[row, cold] = lowest_B[row]
        return score_BN, key_BN

    def _top(self, count: int, k: int, allowed: Bool | None, scored: Callable[[Int64], Scored]) -> Top:
        """The best of ``count`` queries, a block at a time. scored: called with the rows of a block."""
        positions_QK, scores_QK = np.zeros((count, k), np.int32), np.full((count, k), -np.inf, np.float32)
        num_popular_Q = np.zeros(count, np.int64)
        step = max(1, CELLS // len(self._is_cold_N))
        for start in range(0, count, step):
            score_BN, key_BN = scored(np.arange(start, min(start + step, count)))
            key_BN[:, 0] = -np.inf
            if allowed is not None:
                key_BN[:, ~allowed] = -np.inf
            row, rank, position = best(key_BN, k)
            score = score_BN[row, position]
            positions_QK[start + row, rank], scores_QK[start + row, rank] = position, score
            by_popularity = self._is_cold_N[position] | (score == 0) | self._is_popularity
            num_popular_Q += np.bincount(start + row[by_popularity], minlength=count)
        return Top(positions_QK, scores_QK, num_popular_Q)

    def _unable(self, what: str) -> InputError:
        return InputError(f"this bundle serves a baseline, {self._label}, which {what}; ask a bundle of two towers")
