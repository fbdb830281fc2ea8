"""The baselines that a model is compared with on the same queries: popularity, item-kNN and EASE.

To add one, write a function that ranks a ``RankingTask`` and give it a line in BASELINES: evaluation, report, demo and
gate read that table.

Every baseline returns ``ranked_QK``: [Q, K] int32 catalogue positions, best first, never an item of the query's
history, 0 after the last item that can be ranked. Ties go to the lower position. Some functions take ``candidates``, a
[N] bool mask that restricts the ranking (to cold items, say); its entry 0 is ignored.

Shapes: Q queries, K ranks, N catalogue positions with 0 among them (num_items + 1), V values of a Jagged, U training
users.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import csr_array, diags_array

from recsys.data import Int32, Int64, Jagged
from recsys.item_item import CELLS, Bool, ItemItemModel, Scores, Sparse, best, history_weights, rank_by

MODEL = "model"  # stands beside the baselines' names in records
KNN_HALF_LIFE = 1.0  # in events, for item-kNN on ordered data: the best value on three data sets (docs/LOG.md)
EASE_HALF_LIFE = 3.0  # likewise for EASE
EASE_LIMIT = 15_000  # in items: EASE inverts a dense item-item matrix, which takes about 40 s and 3 GB at this size


@dataclass(frozen=True)
class RankingTask:
    """The task of ranking the top ``k`` items for each query, given the training log.

    training: [U] the training histories. ordered: whether histories are in order of time. histories: [Q] those of the
    queries. Both kinds of history are in catalogue positions.
    """

    training: Jagged
    num_items: int
    ordered: bool
    histories: Jagged
    k: int


def rank_by_popularity(task: RankingTask) -> Int32:
    """Rank by the number of training events."""
    known = task.training.values[task.training.values > 0]
    return popularity(np.bincount(known, minlength=task.num_items + 1), task.histories, task.k)


def rank_by_item_knn(task: RankingTask) -> Int32:
    """Rank by similarity to the items of the history."""
    return rank_neighbours(_fitted_item_knn(task), task.histories, task.k)


def rank_by_ease(task: RankingTask) -> Int32:
    """Rank by a linear item-item model."""
    return rank_known(_fitted_ease(task), task.training, task.histories, task.k)


def _nothing(task: RankingTask) -> ItemItemModel:
    empty_NN = csr_array((task.num_items + 1, task.num_items + 1), dtype=np.float32)
    return ItemItemModel("popularity", "popularity", None, empty_NN)


def _fitted_item_knn(task: RankingTask) -> ItemItemModel:
    return fit_item_knn(task.training, task.num_items, half_life=KNN_HALF_LIFE if task.ordered else None)


def _fitted_ease(task: RankingTask) -> ItemItemModel:
    return fit_ease(task.training, task.num_items, half_life=EASE_HALF_LIFE if task.ordered else None)


def _always(task: RankingTask) -> bool:
    return True


@dataclass(frozen=True)
class Baseline:
    """One line of BASELINES.

    name: what records call it. label: what people read. rank: returns [Q, k] catalogue positions. applies: whether it
    is affordable for a task. fit: fits to a task's training histories what `recsys publish --baseline` seals; None for
    what cannot serve. The gate demands that a version beats those of ``gate.must_beat``.
    """

    name: str
    label: str
    rank: Callable[[RankingTask], Int32]
    applies: Callable[[RankingTask], bool] = _always
    fit: Callable[[RankingTask], ItemItemModel] | None = None


BASELINES = (
    Baseline("popularity", "popularity", rank_by_popularity, fit=_nothing),
    Baseline("item_knn", "item-kNN", rank_by_item_knn, fit=_fitted_item_knn),
    Baseline("ease", "EASE", rank_by_ease, applies=lambda task: task.num_items <= EASE_LIMIT, fit=_fitted_ease),
)


def label(method: str) -> str:
    """The human-readable name of a method: ``item-kNN`` for ``item_knn``."""
    return next((baseline.label for baseline in BASELINES if baseline.name == method), method)


def popularity(item_counts_N: Int64, histories: Jagged, k: int, *, candidates: Bool | None = None) -> Int32:
    """Rank all items by ``item_counts_N``, their numbers of training events; those with 0 come last, by position."""
    count_N = item_counts_N.astype(np.float64)  # exact up to 2**53
    return rank_by(lambda chunk: np.tile(count_N, (len(chunk), 1)), len(count_N), histories, k, candidates)


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
) -> ItemItemModel:
    """The model of ``item_knn``."""
    similarity_NN = item_similarity(train, num_items, num_neighbours=num_neighbours, shrinkage=shrinkage)
    return ItemItemModel("item_knn", "item-kNN", half_life, similarity_NN)


def rank_neighbours(model: ItemItemModel, histories: Jagged, k: int, *, candidates: Bool | None = None) -> Int32:
    """Rank the items to which the model gives a score."""

    def score(chunk: Jagged) -> Scores:
        score_QN = model.scores(chunk)
        score_QN[score_QN == 0] = -np.inf
        return score_QN

    return rank_by(score, model.num_items + 1, histories, k, candidates)


def item_similarity(train: Jagged, num_items: int, *, num_neighbours: int, shrinkage: float) -> Sparse:
    """Shrunk cosines of items in the user-item matrix: sparse [N, N] float32, where row i holds item i's neighbours.

    similarity(i, j) = shared(i, j) / (sqrt(shared(i, i) * shared(j, j)) + shrinkage), where shared(i, j) is the sum of
    the weights of the users who have both items. The shrinkage lowers the similarity of items that share few
    users (the form of Ferrari Dacrema et al. 2019). A user with n items has a weight proportional to 1 / sqrt(n),
    scaled so that the mean over all pairs of a user and an item they have is 1: a heavy user says less about any two
    items. Deshpande & Karypis use 1 / n; the root was as good or better on validation data. Each row keeps its largest
    ``num_neighbours`` entries (ties by position), never the item itself. An item that nobody has keeps none.
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
        row, _, column = best(cosine, num_neighbours)
        rows.append(block[row])
        columns.append(column)
        values.append(cosine[row, column])
    entries = np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))
    return csr_array(entries, shape=(num_items + 1, num_items + 1))


def ease(
    train: Jagged, num_items: int, histories: Jagged, k: int, *, l2: float = 300.0, half_life: float | None = None
) -> Int32:
    """The linear item-item model with the least squared error and a zero diagonal, in closed form (EASE, Steck 2019).

    B = I - P / diag(P), P = (X'X + l2 I)^-1, where X is the binary user-item matrix. Memory is O(N^2), time O(N^3).
    score(item) = sum over the history of weight * B[history item, item], with weights as in ``item_knn``. An item that
    nobody has is not ranked.
    """
    return rank_known(fit_ease(train, num_items, l2=l2, half_life=half_life), train, histories, k)


def fit_ease(train: Jagged, num_items: int, *, l2: float = 300.0, half_life: float | None = None) -> ItemItemModel:
    """The model of ``ease``, with every entry of B."""
    seen_UN = _seen(train, num_items)
    gram_NN = torch.from_numpy((seen_UN.T @ seen_UN).toarray())
    gram_NN.diagonal().add_(l2)
    inverse_NN = torch.cholesky_inverse(torch.linalg.cholesky(gram_NN)).numpy()
    coefficient_NN = inverse_NN / -inverse_NN.diagonal()
    np.fill_diagonal(coefficient_NN, 0)

    return ItemItemModel("ease", "EASE", half_life, coefficient_NN)


def rank_known(model: ItemItemModel, train: Jagged, histories: Jagged, k: int) -> Int32:
    """Rank the items that somebody has in the training histories."""
    unknown_N = np.bincount(train.values, minlength=model.num_items + 1) == 0

    def score(chunk: Jagged) -> Scores:
        score_QN = model.scores(chunk)
        score_QN[:, unknown_N] = -np.inf
        return score_QN

    return rank_by(score, model.num_items + 1, histories, k, None)


def _seen(rows: Jagged, num_items: int) -> Sparse:
    """Sparse [rows, N] float32: 1 where a row has the item, however often."""
    seen = history_weights(rows, num_items, None)
    seen.data = np.sign(seen.data)
    return seen
