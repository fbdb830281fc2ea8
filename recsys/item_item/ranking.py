"""Ranking by scores of the whole catalogue: the weights of a history, and the best items of every row.

Shapes: Q queries, K ranks, N catalogue positions with 0 among them (num_items + 1), V values of a Jagged.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from ..data import Int32, Int64, Jagged
from ..progress import track

Bool = npt.NDArray[np.bool_]
Scores = npt.NDArray[np.floating]
Sparse = Any  # scipy ships no types

CELLS = 2**24  # numbers in a block of scores


def history_weights(rows: Jagged, num_items: int, half_life: float | None) -> Sparse:
    """Sparse [rows, N] float32: the weight of each item in each row, summed over repeats; unknown items weigh 0.

    half_life: for histories in order of time, oldest first: the last event weighs 1, and the event ``half_life`` events
    before it weighs 1/2 (Ding & Li 2005, but counting events instead of time). None gives all events weight 1.
    """
    from scipy.sparse import csr_array  # where it is used: serving two towers needs none

    entries = event_weights(rows, half_life), (rows.row_of_value, rows.values.astype(np.int64))
    return csr_array(entries, shape=(len(rows), num_items + 1))


def event_weights(rows: Jagged, half_life: float | None) -> npt.NDArray[np.float32]:
    """[V] float32: the weight of each event, 0 for an unknown item; see ``history_weights``."""
    age_V = rows.offsets[1:][rows.row_of_value] - 1 - np.arange(len(rows.values))
    weight_V = (rows.values > 0) * (1.0 if half_life is None else 0.5 ** (age_V / half_life))
    return np.asarray(weight_V, np.float32)


def rank_by(
    score: Callable[[Jagged], Scores], num_positions: int, histories: Jagged, k: int, candidates: Bool | None
) -> Int32:
    """Rank by ``score``, which returns [rows, N] for a block of histories, -inf for items it cannot rank."""
    ranked_QK = np.zeros((len(histories), k), np.int32)
    step = max(1, CELLS // num_positions)
    for start in track(range(0, len(histories), step), "blocks of queries ranked"):
        chunk = histories.take(np.arange(start, min(start + step, len(histories))))
        score_QN = score(chunk)
        score_QN[chunk.row_of_value, chunk.values] = -np.inf
        score_QN[:, 0] = -np.inf
        if candidates is not None:
            score_QN[:, ~candidates] = -np.inf
        row, rank, position = best(score_QN, k)
        ranked_QK[start + row, rank] = position
    return ranked_QK


def rank_entries(score: Callable[[Jagged], Sparse], histories: Jagged, k: int, *, at_once: int) -> Int32:
    """Rank by ``score``, which returns csr [rows, N]: what it does not store, or stores as 0, cannot be ranked.

    For catalogues of which a history reaches few items. at_once: histories in a block.
    """
    ranked_QK = np.zeros((len(histories), k), np.int32)
    for start in track(range(0, len(histories), at_once), "blocks of queries ranked"):
        chunk = histories.take(np.arange(start, min(start + at_once, len(histories))))
        score_QN = score(chunk)
        cells, num_positions = rows_of(score_QN) * score_QN.shape[1] + score_QN.indices, score_QN.shape[1]
        score_QN.data[np.isin(cells, chunk.row_of_value * num_positions + chunk.values)] = 0
        score_QN.eliminate_zeros()
        row, rank, entry = best_entries(score_QN, k)
        ranked_QK[start + row, rank] = score_QN.indices[entry]
    return ranked_QK


def rows_of(matrix: Sparse) -> Int64:
    """The row of each entry that a csr matrix stores."""
    return np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))


def best_entries(matrix: Sparse, k: int) -> tuple[Int64, Int64, Int64]:
    """Row, 0-based rank and number of each row's ``k`` best entries in a csr matrix, in the order of ``best``."""
    row = rows_of(matrix)
    order = np.lexsort((matrix.indices, -matrix.data, row))
    kept, rank = _first(row[order], k)
    return row[order][kept], rank, order[kept]


def best(score_QN: Scores, k: int) -> tuple[Int64, Int64, Int64]:
    """Row, 0-based rank and column of each row's ``k`` best finite scores, sorted by row and rank; ties by column."""
    worst = max(0, score_QN.shape[1] - k)
    least_Q = np.partition(score_QN, worst, axis=1)[:, worst]
    row, column = np.nonzero((score_QN >= least_Q[:, None]) & (score_QN > -np.inf))
    order = np.lexsort((-score_QN[row, column], row))  # stable: equal scores stay in order of columns
    row, column = row[order], column[order]
    kept, rank = _first(row, k)
    return row[kept], rank, column[kept]


def _first(row: Int64, k: int) -> tuple[npt.NDArray[np.bool_], Int64]:
    """Which entries are among the first ``k`` of their row, and the ranks of those; rows ascend."""
    rank = np.arange(len(row)) - np.searchsorted(row, row)
    return rank < k, rank[rank < k]
