"""Where negatives come from, and how often each item is expected among them."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recsys.data import Int64


@dataclass(frozen=True)
class NegativeSampler:
    """Draws items with probability proportional to count ** exponent; exponent 0 is uniform.

    log_share: [num_trained + 1] float64 log q_j, -inf for row 0. cumulative: [num_trained + 1] float64.
    """

    log_share: npt.NDArray[np.float64]
    cumulative: npt.NDArray[np.float64]

    @staticmethod
    def from_counts(item_counts: Int64, exponent: float) -> "NegativeSampler":
        """item_counts: [num_trained + 1] int64 training events, row 0 ignored."""
        weights = np.maximum(item_counts, 1).astype(np.float64) ** exponent
        weights[0] = 0.0
        share = weights / weights.sum()
        with np.errstate(divide="ignore"):
            return NegativeSampler(np.log(share), np.cumsum(share))

    def draw(self, generator: np.random.Generator, count: int) -> Int64:
        """[count] int64 rows from 1, with replacement."""
        rows = np.searchsorted(self.cumulative, generator.random(count), side="right")
        return np.minimum(rows, len(self.cumulative) - 1).astype(np.int64)


def log_expected(
    drawn: NegativeSampler, num_drawn: int, batch: NegativeSampler | None, num_batch: int, rows_N: Int64 | None = None
) -> npt.NDArray[np.float64]:
    """[num_trained + 1] float64: log of how often each item is expected in a pool of drawn and in-batch negatives.

    rows_N: only of these rows, [N]; a step should not cost O(catalogue).
    """
    rows = slice(None) if rows_N is None else rows_N
    expected = num_drawn * np.exp(drawn.log_share[rows])
    if batch is not None:
        expected = expected + num_batch * np.exp(batch.log_share[rows])
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(expected))
