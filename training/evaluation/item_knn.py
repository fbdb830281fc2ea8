"""Item-kNN: an item is recommended to those who have similar items.

Shapes: Q queries, K ranks, N catalogue positions with 0 among them (num_items + 1), U training users.
"""

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array, diags_array

from recsys.data import Int32, Int64, Jagged
from recsys.item_item import (
    CELLS,
    Bool,
    ItemItemModel,
    Scores,
    Sparse,
    best,
    best_entries,
    history_weights,
    rank_by,
    rank_entries,
    rows_of,
)

QUERIES_AT_ONCE = 1_000
MANY_ITEMS = 1 << 15  # from here on, most items have nothing to do with a history, and get no score of 0
EMPTY = 10  # cells for an entry: from here on, it is faster to sort the entries than to write the zeros out


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

    score(item) = sum over the history of weight * similarity(history item, item), where a history item has a
    similarity only to its ``num_neighbours`` most similar items; see ``item_similarity``. Items that are not a
    neighbour of any history item are not ranked. Queries are scored in blocks, so that memory is bounded.

    Args:
        train: [U] training histories.
        num_items: size of the catalogue.
        histories: [Q] histories of the queries.
        k: length of the rankings.
        num_neighbours: similar items kept per item.
        shrinkage: how much to lower the similarity of items that share few users.
        half_life: for histories in order of time, oldest first: the last event weighs 1, and the event ``half_life``
            events before it weighs 1/2 (Ding & Li 2005, but counting events instead of time). None gives all events
            weight 1.
        candidates: [N] bool, the items to rank.
    """
    model = fit_item_knn(train, num_items, num_neighbours=num_neighbours, shrinkage=shrinkage, half_life=half_life)
    return rank_neighbours(model, histories, k, candidates=candidates)


def fit_item_knn(
    train: Jagged,
    num_items: int,
    *,
    num_neighbours: int = 100,
    shrinkage: float = 20.0,
    half_life: float | None = None,
    items: Int64 | None = None,
) -> ItemItemModel:
    """The model of ``item_knn``; for histories of no other items than ``items``, if they are given."""
    similarity_NN = item_similarity(train, num_items, num_neighbours=num_neighbours, shrinkage=shrinkage, items=items)
    return ItemItemModel("item_knn", "item-kNN", half_life, similarity_NN)


def rank_neighbours(model: ItemItemModel, histories: Jagged, k: int, *, candidates: Bool | None = None) -> Int32:
    """Rank the items to which the model gives a score."""
    if model.num_items >= MANY_ITEMS and candidates is None:
        return rank_entries(model.sparse_scores, histories, k, at_once=QUERIES_AT_ONCE)

    def score(chunk: Jagged) -> Scores:
        score_QN = model.scores(chunk)
        score_QN[score_QN == 0] = -np.inf
        return score_QN

    return rank_by(score, model.num_items + 1, histories, k, candidates)


def item_similarity(
    train: Jagged,
    num_items: int,
    *,
    num_neighbours: int,
    shrinkage: float,
    items: Int64 | None = None,
) -> Sparse:
    """Shrunk cosines of items in the user-item matrix: sparse [N, N] float32, where row i holds item i's neighbours.

    similarity(i, j) = shared(i, j) / (sqrt(shared(i, i) * shared(j, j)) + shrinkage), where shared(i, j) is the sum of
    the weights of the users who have both items. The shrinkage lowers the similarity of items that share few
    users (the form of Ferrari Dacrema et al. 2019). A user with n items has a weight proportional to 1 / sqrt(n),
    scaled so that the mean over all pairs of a user and an item they have is 1: a heavy user says less about any two
    items. Deshpande & Karypis use 1 / n; the root was as good or better on validation data. Each row keeps its largest
    ``num_neighbours`` entries (ties by position), never the item itself. An item that nobody has keeps none. With
    ``items``, in ascending order, only their rows are filled.
    """
    seen_UN = seen_by(train, num_items)
    length_U = np.asarray(seen_UN.sum(axis=1), np.float64)
    weight_U = 1 / np.sqrt(np.maximum(length_U, 1))
    weight_U *= length_U.sum() / max(1, weight_U @ length_U)
    weighted_UN = (diags_array(weight_U.astype(np.float32)) @ seen_UN).tocsr()
    self_N = np.asarray(weighted_UN.sum(axis=0), np.float64)
    seen_NU = seen_UN.T.tocsr()
    rows, columns, values = [], [], []
    for block in _blocks(np.arange(num_items + 1) if items is None else items, seen_NU @ length_U):
        cosine = (seen_NU[block] @ weighted_UN).tocsr()
        row, column = block[rows_of(cosine)], cosine.indices
        cosine.data /= (np.sqrt(self_N[row] * self_N[column]) + shrinkage).astype(np.float32)
        cosine.data[row == column] = 0
        cosine.eliminate_zeros()
        row, column, value = _strongest(cosine, num_neighbours)
        rows.append(block[row])
        columns.append(column)
        values.append(value)
    entries = np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))
    return csr_array(entries, shape=(num_items + 1, num_items + 1))


def _blocks(items: Int64, work_N: npt.NDArray[np.floating]) -> list[Int64]:
    """The items, in blocks that take CELLS products. work_N: how many it takes to compare an item with all others."""
    done = np.cumsum(work_N[items])
    return np.array_split(items, np.searchsorted(done, np.arange(CELLS, done[-1], CELLS))) if len(items) else [items]


def _strongest(matrix: Sparse, k: int) -> tuple[Int64, Int64, npt.NDArray[np.float32]]:
    """Row, column and value of the ``k`` largest entries of every row; ties by column."""
    cells = matrix.shape[0] * matrix.shape[1]
    if cells > CELLS or cells > EMPTY * matrix.nnz:
        row, _, entry = best_entries(matrix, k)
        return row, matrix.indices[entry], matrix.data[entry]
    dense = np.full(matrix.shape, -np.inf, np.float32)
    dense[rows_of(matrix), matrix.indices] = matrix.data
    row, _, column = best(dense, k)
    return row, column, dense[row, column]


def seen_by(rows: Jagged, num_items: int) -> Sparse:
    """Sparse [rows, N] float32: 1 where a row has the item, however often."""
    seen = history_weights(rows, num_items, None)
    seen.data = np.sign(seen.data)
    return seen
