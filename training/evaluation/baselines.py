"""The algorithms that a learned model must beat: popularity, item-kNN, EASE and, for cold items, metadata-kNN.

Every one returns ``ranked_QK``: [Q, K] int32 catalogue positions, best first, never an item of the query's history, 0
after the last item that can be ranked. Ties go to the lower position. ``candidates``, a [N] bool mask, restricts the
ranking (to cold items, say); its entry 0 is ignored.

Shapes: Q queries, K ranks, N catalogue positions with 0 among them (num_items + 1), C candidates, F features, V values
of a Jagged, U training users.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from scipy.sparse import csr_array, diags_array, hstack, issparse, vstack

from recsys.data import Int32, Int64, Jagged, Transform
from recsys.progress import track

Bool = npt.NDArray[np.bool_]
Scores = npt.NDArray[np.floating]
Sparse = Any  # scipy ships no types

CELLS = 2**24  # numbers in a dense block of scores


def popularity(item_counts_N: Int64, histories: Jagged, k: int, *, candidates: Bool | None = None) -> Int32:
    """Rank all items by their number of training events, [N] int64; items without one come last, in catalogue order."""
    count_N = item_counts_N.astype(np.float64)  # exact to 2**53
    return _rank(lambda chunk: np.tile(count_N, (len(chunk), 1)), len(count_N), histories, k, candidates)


def item_knn(
    train: Jagged,
    num_items: int,
    histories: Jagged,
    k: int,
    *,
    num_neighbours: int = 100,
    shrinkage: float = 20.0,
    half_life: float | None = None,
    candidates: Bool | None = None,
) -> Int32:
    """Item-based collaborative filtering (Sarwar et al. 2001; top-N by Deshpande & Karypis 2004).

    score(item) = sum over the history of weight * similarity(history item, item), where only the ``num_neighbours``
    most similar items of a history item count; see ``item_similarity``. Items that are no neighbour of the history are
    not ranked. Queries are scored in blocks, so that memory is bounded.

    Args:
        train: [U] training histories.
        num_items: size of the catalogue.
        histories: [Q] histories of the queries.
        k: length of the rankings.
        num_neighbours: similar items kept per item.
        shrinkage: distrust of items that share few users.
        half_life: for histories in order of time, oldest first: the last event weighs 1, the one ``half_life`` events
            before it 1/2 (Ding & Li 2005, with events for time). None gives all events weight 1.
        candidates: [N] bool, the items to rank.
    """
    similarity_NN = item_similarity(train, num_items, num_neighbours=num_neighbours, shrinkage=shrinkage)

    def score(chunk: Jagged) -> Scores:
        score_QN: Scores = (_weights(chunk, num_items, half_life) @ similarity_NN).toarray()
        score_QN[score_QN == 0] = -np.inf
        return score_QN

    return _rank(score, num_items + 1, histories, k, candidates)


def item_similarity(train: Jagged, num_items: int, *, num_neighbours: int, shrinkage: float) -> Sparse:
    """Cosine of items in the user-item matrix, shrunk: sparse [N, N] float32, row i the neighbours of item i.

    similarity(i, j) = shared(i, j) / (sqrt(shared(i, i) * shared(j, j)) + shrinkage), where shared(i, j) is the sum of
    the weights of the users who have both items. The shrinkage distrusts items that share few users (the form of
    Ferrari Dacrema et al. 2019). A user with n items has a weight proportional to 1 / sqrt(n), scaled so that the mean
    over the events is 1: a heavy user says less about any two items. Deshpande & Karypis use 1 / n; the root was as
    good or better on validation data. Each row keeps its largest ``num_neighbours`` entries (ties by position), never
    the item itself. An item that nobody has keeps none.
    """
    seen_UN = _seen(train, num_items)
    length_U = np.asarray(seen_UN.sum(axis=1), np.float64)
    weight_U = 1 / np.sqrt(np.maximum(length_U, 1))
    weight_U *= length_U.sum() / max(1, weight_U @ length_U)
    weighted_UN = (diags_array(weight_U.astype(np.float32)) @ seen_UN).tocsr()
    self_N = np.asarray(weighted_UN.sum(axis=0), np.float64)
    seen_NU = seen_UN.T.tocsr()
    rows, columns, values = [], [], []
    step = max(1, CELLS // (num_items + 1))
    for start in range(0, num_items + 1, step):
        block = np.arange(start, min(start + step, num_items + 1))
        shared = (seen_NU[block] @ weighted_UN).toarray()
        shared[np.arange(len(block)), block] = 0
        cosine = np.full_like(shared, -np.inf)
        scale = (np.sqrt(np.outer(self_N[block], self_N)) + shrinkage).astype(np.float32)
        np.divide(shared, scale, out=cosine, where=shared > 0)
        row, _, column = _best(cosine, num_neighbours)
        rows.append(block[row])
        columns.append(column)
        values.append(cosine[row, column])
    entries = np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))
    return csr_array(entries, shape=(num_items + 1, num_items + 1))


def ease(
    train: Jagged, num_items: int, histories: Jagged, k: int, *, l2: float = 300.0, half_life: float | None = None
) -> Int32:
    """The linear item-item model with the least squared error and a zero diagonal, in closed form (EASE, Steck 2019).

    B = I - P / diag(P), P = (X'X + l2 I)^-1, where X is the binary user-item matrix: memory O(N^2), time O(N^3).
    score(item) = sum over the history of weight * B[history item, item], with weights as in ``item_knn``. An item that
    nobody has is not ranked.
    """
    seen_UN = _seen(train, num_items)
    gram_NN = torch.from_numpy((seen_UN.T @ seen_UN).toarray())
    known_N = gram_NN.diagonal().numpy() > 0
    gram_NN.diagonal().add_(l2)
    inverse_NN = torch.cholesky_inverse(torch.linalg.cholesky(gram_NN)).numpy()
    model_NN = inverse_NN / -inverse_NN.diagonal()
    np.fill_diagonal(model_NN, 0)

    def score(chunk: Jagged) -> Scores:
        score_QN: Scores = _weights(chunk, num_items, half_life) @ model_NN
        score_QN[:, ~known_N] = -np.inf
        return score_QN

    return _rank(score, num_items + 1, histories, k, None)


def metadata_knn(features_NF: Sparse, histories: Jagged, k: int, *, candidates: Bool | None = None) -> Int32:
    """Rank items by the cosine of their features with the mean of the history items' unit feature vectors.

    features_NF: sparse or dense [N, F], row 0 zeros. This is the content-based profile of Lops et al. 2011; the
    profile's own length does not change the ranking and is left out. An item without features is not ranked, and
    nothing is ranked for a history without features.
    """
    unit_NF, described_N = _unit_rows(features_NF)
    ranked_C = np.flatnonzero(described_N if candidates is None else described_N & candidates)
    unit_FC = unit_NF[ranked_C].T

    def score(chunk: Jagged) -> Scores:
        weight_QN = _weights(chunk, len(described_N) - 1, None)
        score_QC = weight_QN @ unit_NF @ unit_FC
        score_QN = np.full(weight_QN.shape, -np.inf, np.float32)
        score_QN[:, ranked_C] = score_QC.toarray() if issparse(score_QC) else score_QC
        score_QN[weight_QN @ described_N == 0] = -np.inf
        return score_QN

    return _rank(score, len(described_N), histories, k, candidates)


def feature_matrix(transforms: tuple[Transform, ...], encoded: pl.DataFrame) -> Sparse:
    """[N, F] csr: encoded features of items as counts per table row, dense columns unchanged; row 0 is empty."""
    blocks = []
    for transform in transforms:
        column = encoded.get_column(transform.name)
        if transform.is_bag:
            bag = Jagged.from_series(column)
            ones = np.ones(len(bag.values), np.float32)
            blocks.append(csr_array((ones, bag.values, bag.offsets), shape=(len(bag), transform.size)))
        else:
            blocks.append(csr_array(column.to_numpy().reshape(-1, transform.size)))
    described = hstack(blocks, format="csr", dtype=np.float32)
    return vstack([csr_array((1, described.shape[1]), dtype=np.float32), described], format="csr")


def _unit_rows(features_NF: Sparse) -> tuple[Sparse, Bool]:
    """The rows scaled to length 1 in float32, zero rows unchanged, and which rows are not zero, [N] bool."""
    features_NF = csr_array(features_NF, dtype=np.float32) if issparse(features_NF) else np.float32(features_NF)
    square_N = np.asarray((features_NF * features_NF).sum(axis=1))
    scale_N = 1 / np.sqrt(np.where(square_N > 0, square_N, 1))
    return features_NF * scale_N[:, None], square_N > 0


def _weights(rows: Jagged, num_items: int, half_life: float | None) -> Sparse:
    """Sparse [rows, N] float32: the weight of each value at its position, summed over repeats; unknown items weigh 0.

    half_life: as in ``item_knn``.
    """
    values_V = rows.values.astype(np.int64)
    age_V = rows.offsets[1:][rows.row_of_value] - 1 - np.arange(len(values_V))
    weight_V = (values_V > 0) * (1.0 if half_life is None else 0.5 ** (age_V / half_life))
    entries = weight_V.astype(np.float32), (rows.row_of_value, values_V)
    return csr_array(entries, shape=(len(rows), num_items + 1))


def _seen(rows: Jagged, num_items: int) -> Sparse:
    """Sparse [rows, N] float32: 1 where a row has the item, however often."""
    seen = _weights(rows, num_items, None)
    seen.data = np.sign(seen.data)
    return seen


def _rank(
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
        row, rank, position = _best(score_QN, k)
        ranked_QK[start + row, rank] = position
    return ranked_QK


def _best(score_QN: Scores, k: int) -> tuple[Int64, Int64, Int64]:
    """Row, rank from 0 and column of the ``k`` highest finite scores of each row, by row and rank; ties by column."""
    top_QK, _ = torch.topk(torch.from_numpy(score_QN), min(k, score_QN.shape[1]), dim=1, sorted=False)
    least_Q = top_QK.numpy().min(axis=1)
    row, column = np.nonzero((score_QN >= least_Q[:, None]) & (score_QN > -np.inf))
    order = np.lexsort((-score_QN[row, column], row))  # stable: equal scores stay in order of columns
    row, column = row[order], column[order]
    rank = np.arange(len(row)) - np.searchsorted(row, row)
    kept = rank < k
    return row[kept], rank[kept], column[kept]
