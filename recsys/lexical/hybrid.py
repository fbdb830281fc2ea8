"""Words and vectors together: the best items by a weighted sum of both scores, without scoring every item.

A cosine and a BM25 score have nothing in common. Each is turned into a z-score: how many standard deviations it is
above its mean over all items of the catalogue, for this query. The sum of z-scores, by a weight, ranks.

Nothing is approximate beside the index itself. The mean and the deviation of all inner products follow from the mean
vector and the second moments of the catalogue. The best by vectors come from the index. Any other item's inner product
is at most the last of these, so it can only be among the answers by its words: only items whose words could lift them
above the k-th best are scored.

Shape suffixes: Q queries, K answers, N catalogue positions with 0 among them, D the width of a vector, C candidates.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..data import Int32, Int64, Jagged
from ..search import AnyIndex
from .lexical_index import LexicalIndex

Bool = npt.NDArray[np.bool_]
Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

LEAST_FETCH = 100  # candidates by vectors: with more, fewer items are left whose words could lift them
BLOCK = 1 << 14  # items whose moments are added at once
ROUNDING = 1e-6  # of scores that the index gives in float32


@dataclass(frozen=True)
class VectorStatistics:
    """The mean vector [D] and the mean outer product [D, D] of a catalogue, in float64."""

    mean: Float64
    second_moment: Float64

    @staticmethod
    def of(vectors_ND: Float32) -> "VectorStatistics":
        """Those of all rows but row 0, which is no item."""
        total, outer = np.zeros(vectors_ND.shape[1]), np.zeros((vectors_ND.shape[1],) * 2)
        for start in range(1, len(vectors_ND), BLOCK):
            block = vectors_ND[start : start + BLOCK].astype(np.float64)
            total += block.sum(axis=0)
            outer += block.T @ block
        count = max(1, len(vectors_ND) - 1)
        return VectorStatistics(total / count, outer / count)

    def of_scores(self, query_D: Float64) -> tuple[float, float]:
        """The mean and the standard deviation of a query's inner products with all items."""
        mean = float(query_D @ self.mean)
        return mean, max(0.0, float(query_D @ self.second_moment @ query_D) - mean**2) ** 0.5


def z_scores(scores: npt.NDArray[np.floating], mean: float, deviation: float) -> Float64:
    """How many deviations above the mean scores are; 0 where all are equal."""
    if deviation <= ROUNDING * abs(mean) or deviation == 0.0:
        return np.zeros(scores.shape)
    return np.asarray((scores - mean) / deviation, np.float64)


def fused(by_vector: Float64, by_word: Float64, weight: float) -> Float64:
    """The sum of both z-scores. weight: the share of words, from 0 to 1."""
    return (1 - weight) * by_vector + weight * by_word


class HybridIndex:
    """An index of vectors and one of words, over one catalogue. Searching changes no state.

    Args:
        index: over the vectors.
        vectors_ND: the same vectors.
        lexical: over the texts; None: vectors alone rank.
        weight: the share of words, from 0, where vectors alone rank, to 1.
    """

    def __init__(self, index: AnyIndex, vectors_ND: Float32, lexical: LexicalIndex | None, weight: float) -> None:
        self._index, self._vectors_ND, self._weight = index, vectors_ND, weight
        self._lexical = lexical if weight else None
        self._statistics = VectorStatistics.of(vectors_ND) if self._lexical is not None else None

    def search(
        self,
        queries_QD: Float32,
        texts: Sequence[str],
        k: int,
        *,
        excluded: Jagged | None = None,
        allowed: Bool | None = None,
    ) -> tuple[Int32, Float32]:
        """The best items of each query, as ``ItemIndex.search`` returns them, by the sum of z-scores.

        Where vectors alone rank, the scores are inner products.

        Args:
            queries_QD: the queries' vectors.
            texts: the queries' texts.
            k: at most the size of the catalogue.
            excluded: [Q] positions that a query must not get.
            allowed: [N] what any query may get.
        """
        if self._lexical is None:
            return self._index.search(queries_QD, k, excluded=excluded, allowed=allowed)
        fetch = min(self._index.num_items, max(LEAST_FETCH, 4 * k))
        near_QC, score_QC = self._index.search(queries_QD, fetch, excluded=excluded, allowed=allowed)
        positions_QK, scores_QK = np.zeros((len(texts), k), np.int32), np.full((len(texts), k), -np.inf, np.float32)
        for row, text in enumerate(texts):
            near, count = near_QC[row], int(np.count_nonzero(near_QC[row]))
            barred = None if excluded is None else excluded[row]
            best, scores = self._merged(
                queries_QD[row].astype(np.float64), text, near[:count], score_QC[row, :count], k, allowed, barred,
                is_whole=count < fetch or count == self._index.num_items,
            )  # fmt: skip
            positions_QK[row, : len(best)], scores_QK[row, : len(best)] = best, scores
        return positions_QK, scores_QK

    def _merged(
        self, query_D: Float64, text: str, near: Int32, near_scores: Float32, k: int, allowed: Bool | None,
        barred: Int32 | None, *, is_whole: bool,
    ) -> tuple[Int64, Float64]:  # fmt: skip
        """The best of one query. near: the best by vectors. is_whole: whether these are all that may be answered."""
        assert self._lexical is not None  # or vectors alone rank
        assert self._statistics is not None
        statistics = self._statistics.of_scores(query_D)
        candidates, by_vector = near.astype(np.int64), z_scores(near_scores, *statistics)
        words_N = self._lexical.scores_of(text)
        if words_N is None:
            return candidates[:k], fused(by_vector, np.zeros(len(by_vector)), self._weight)[:k]
        of_words = moments(words_N[1:])
        if not is_whole and of_words[1] > 0:
            if allowed is not None:
                words_N[~allowed] = 0
            if barred is not None:
                words_N[barred] = 0
            floor = float(by_vector[-1]) + ROUNDING
            for most in (2 * k, len(words_N)):  # a few items first raise the score that the others must reach
                score = self._fused(by_vector, words_N[candidates], of_words)
                least = np.partition(score, -k)[-k] if len(score) >= k else -np.inf
                more = np.setdiff1d(self._lifted(words_N, of_words, floor, float(least), most), candidates)
                others = z_scores(self._vectors_ND[more].astype(np.float64) @ query_D, *statistics)
                candidates, by_vector = np.concatenate([candidates, more]), np.concatenate([by_vector, others])
        score = self._fused(by_vector, words_N[candidates], of_words)
        order = np.lexsort((candidates, -by_vector, -score))[:k]
        return candidates[order], score[order]

    def _fused(self, by_vector: Float64, words: Float32, of_words: tuple[float, float]) -> Float64:
        return fused(by_vector, z_scores(words, *of_words), self._weight)

    def _lifted(self, words_N: Float32, of_words: tuple[float, float], floor: float, least: float, most: int) -> Int64:
        """The items whose words lift them to a score of ``least`` with a z-score of ``floor`` by vectors.

        most: how many, those with the highest scores by words.
        """
        mean, deviation = of_words
        needed = mean + deviation * (least - ROUNDING - (1 - self._weight) * floor) / self._weight
        lifted = np.flatnonzero((words_N > 0) & (words_N >= needed))
        if most < len(lifted):
            lifted = lifted[np.argpartition(-words_N[lifted], most)[:most]]
        return lifted


def moments(scores: Float32) -> tuple[float, float]:
    """Their mean and standard deviation."""
    mean = float(scores.mean(dtype=np.float64))
    squares = float(np.dot(scores, scores)) / max(1, len(scores))
    return mean, max(0.0, squares - mean**2) ** 0.5
