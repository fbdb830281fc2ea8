"""What a Retriever answers.

Shape suffixes: Q users, K answers.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from .data import Int32, Int64

FALLBACK = "fallback: no known item in the history, the most popular items"


@dataclass(frozen=True)
class Recommendations:
    """One batch of answers, best first.

    item_ids, scores: List columns, a row per query. reasons: why a row is short or degraded, null where it is neither.
    bundle_id, metadata_digest: which bundle answered, and with which metadata where it was not the bundle's own.
    """

    item_ids: pl.Series
    scores: pl.Series
    reasons: pl.Series
    bundle_id: str
    metadata_digest: str | None = None

    def __len__(self) -> int:
        return len(self.item_ids)


@dataclass(frozen=True)
class Explanation:
    """Why an item: its score and its rank in the whole catalogue, and what each item of the history contributes.

    contributions: item_id, contribution (score lost when the item is left out), the largest first.
    """

    score: float
    rank: int
    contributions: pl.DataFrame
    bundle_id: str
    metadata_digest: str | None = None


@dataclass(frozen=True)
class Ranking:
    """The same in catalogue positions. positions: [Q, K] int32, 0 pads. scores: [Q, K] float32. fallback: [Q] bool."""

    positions: Int32
    scores: npt.NDArray[np.float32]
    fallback: npt.NDArray[np.bool_]

    @property
    def counts(self) -> Int64:
        """[Q] int64: how many answers each query has."""
        return np.asarray(np.count_nonzero(self.positions, axis=1), np.int64)

    def reasons(self, k: int) -> pl.Series:
        """[Q] String: why a row is degraded or has fewer than ``k`` answers, null where it is neither."""
        reasons: list[str | None] = [None] * len(self.positions)
        counts = self.counts
        for row in np.flatnonzero(self.fallback | (counts < k)).tolist():
            short = [f"short: only {counts[row]} eligible items"] if counts[row] < k else []
            reasons[row] = "; ".join([FALLBACK] * bool(self.fallback[row]) + short)
        return pl.Series("reason", reasons, dtype=pl.String)
