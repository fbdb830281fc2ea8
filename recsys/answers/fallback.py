"""The fallback: who gets the most popular items instead of an answer of the model, and which items these are.

A user falls back if the model knows nothing of them: no item of the history is in the catalogue, nor does the model
place users by their columns alone with a value that it knows. The answer's reason says so. Two towers score every item,
so popular items never fill up their answers. A baseline scores few: popular items follow the scored ones
(recsys/rankers), and the reason says how many.

Shape suffixes: Q queries, K answers, N catalogue positions with 0 among them.
"""

import numpy as np
import numpy.typing as npt

from ..data import Int32, Int64, Jagged

FALLBACK = "fallback: nothing is known of the user, the most popular items"
POPULAR = "filled up: popular items, which nothing in the history leads to"


class MostPopular:
    """The items by their number of training events, ties by position. item_counts_N: [N] int64, entry 0 ignored."""

    def __init__(self, item_counts_N: Int64) -> None:
        self._counts_N = item_counts_N
        self._positions = np.argsort(-item_counts_N[1:], kind="stable") + 1

    def top(self, k: int, allowed_N: npt.NDArray[np.bool_] | None) -> tuple[Int32, npt.NDArray[np.float32]]:
        """The ``k`` most popular of the allowed items (None: of all).

        Returns:
            Positions [K] int32 and scores [K] float32, each the item's share of the training events; padded with 0 and
            -inf.
        """
        best = self._positions[allowed_N[self._positions]][:k] if allowed_N is not None else self._positions[:k]
        padding = (0, k - len(best))
        share = self._counts_N[best] / max(1, self._counts_N[1:].sum())
        return np.pad(best, padding).astype(np.int32), np.pad(share, padding, constant_values=-np.inf).astype(
            np.float32
        )


def falls_back(history: Jagged, vectors_QD: npt.NDArray[np.float32] | None) -> npt.NDArray[np.bool_]:
    """[Q] bool: whether nothing is known of a user.

    Args:
        history: [Q] rows of catalogue positions, 0 for unknown items.
        vectors_QD: The users' vectors, zero where the model knows nothing; None for a model that has none.
    """
    if vectors_QD is not None:
        return np.asarray(~vectors_QD.any(axis=1))
    known: npt.NDArray[np.bool_] = history.keep(history.values > 0).lengths > 0
    return ~known
