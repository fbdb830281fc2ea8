"""The baselines that a model is compared with on the same queries: popularity, item-kNN and EASE.

To add one, write a function that ranks a ``RankingTask`` and give it a line in BASELINES: evaluation, report, demo and
gate read that table.

Every baseline returns ``ranked_QK``: [Q, K] int32 catalogue positions, best first, never an item of the query's
history, 0 after the last item that can be ranked. Ties go to the lower position. Some functions take ``candidates``, a
[N] bool mask that restricts the ranking (to cold items, say); its entry 0 is ignored.

Shapes: Q queries, K ranks, N catalogue positions with 0 among them (num_items + 1), V values of a Jagged, U training
users.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import csr_array

from recsys.data import Dataset, Int32, Int64, Jagged
from recsys.item_item import CELLS, Bool, ItemItemModel, Scores, rank_by
from recsys.lexical import LexicalIndex

from .item_knn import fit_item_knn, rank_neighbours, seen_by

MODEL = "model"  # stands beside the baselines' names in records
KNN_HALF_LIFE = 1.0  # in events, for item-kNN on ordered data: the best value on three data sets (docs/LOG.md)
EASE_HALF_LIFE = 3.0  # likewise for EASE
MAX_EVENTS = 50_000_000  # that baselines are fitted on: item-kNN takes up to 70 bytes for each
SEED = 0
EASE_LIMIT = 15_000  # in items: EASE inverts a dense item-item matrix, which takes about 40 s and 3 GB at this size
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RankingTask:
    """The task of ranking the top ``k`` items for each query, given the training log.

    training: [U] the training histories. ordered: whether histories are in order of time. histories: [Q] those of the
    queries. Both kinds of history are in catalogue positions. lexical: the words of the items; None where they have no
    text. texts: [Q] what the columns of the queries' users say; None where they say nothing.
    """

    training: Jagged
    num_items: int
    ordered: bool
    histories: Jagged
    k: int
    lexical: LexicalIndex | None = None
    texts: Sequence[str | None] | None = None

    @property
    def asks_by_text(self) -> bool:
        """Whether a text is all that is known of most queries."""
        if self.lexical is None or self.texts is None:
            return False
        is_known = self.histories.keep(self.histories.values > 0).lengths > 0
        asks = [text is not None and not known for text, known in zip(self.texts, is_known, strict=True)]
        return 2 * sum(asks) > len(asks)


def histories_to_fit(dataset: Dataset) -> Jagged:
    """The training histories, or those of a random sample of users where all would not fit in memory."""
    histories = dataset.train()[1]
    if histories.num_values <= MAX_EVENTS:
        return histories.whole()
    users = np.random.default_rng(SEED).permutation(len(histories))
    users = np.sort(users[np.cumsum(histories.lengths[users]) <= MAX_EVENTS])
    logger.info("baselines are fitted on the events of %s of %s users", f"{len(users):,}", f"{len(histories):,}")
    return histories.select(users).whole()


def rank_by_popularity(task: RankingTask) -> Int32:
    """Rank by the number of training events."""
    known = task.training.values[task.training.values > 0]
    return popularity(np.bincount(known, minlength=task.num_items + 1), task.histories, task.k)


def rank_by_item_knn(task: RankingTask) -> Int32:
    """Rank by similarity to the items of the history."""
    half_life = KNN_HALF_LIFE if task.ordered else None
    asked = np.unique(task.histories.values).astype(np.int64)
    return rank_neighbours(
        fit_item_knn(task.training, task.num_items, half_life=half_life, items=asked[asked > 0]), task.histories, task.k
    )


def rank_by_ease(task: RankingTask) -> Int32:
    """Rank by a linear item-item model."""
    return rank_known(_fitted_ease(task), task.training, task.histories, task.k)


def rank_by_words(task: RankingTask) -> Int32:
    """Rank by BM25: the words of the query's text in the items' texts. Items without any are not ranked."""
    assert task.lexical is not None  # as ``asks_by_text`` says
    assert task.texts is not None
    return task.lexical.top(task.texts, task.k)


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
    is affordable, and makes sense, for a task. fit: fits to a task's training histories what `recsys publish
    --baseline` seals; None for what cannot serve. conditional: whether it makes no sense for most data. The gate
    demands that a version beats those of ``gate.must_beat``, and is not behind the conditional ones among them.
    """

    name: str
    label: str
    rank: Callable[[RankingTask], Int32]
    applies: Callable[[RankingTask], bool] = _always
    fit: Callable[[RankingTask], ItemItemModel] | None = None
    conditional: bool = False


BASELINES = (
    Baseline("popularity", "popularity", rank_by_popularity, fit=_nothing),
    Baseline("item_knn", "item-kNN", rank_by_item_knn, fit=_fitted_item_knn),
    Baseline("ease", "EASE", rank_by_ease, applies=lambda task: task.num_items <= EASE_LIMIT, fit=_fitted_ease),
    Baseline("bm25", "BM25", rank_by_words, applies=lambda task: task.asks_by_text, conditional=True),
)


def label(method: str) -> str:
    """The human-readable name of a method: ``item-kNN`` for ``item_knn``."""
    return next((baseline.label for baseline in BASELINES if baseline.name == method), method)


def popularity(item_counts_N: Int64, histories: Jagged, k: int, *, candidates: Bool | None = None) -> Int32:
    """Rank all items by ``item_counts_N``, their numbers of training events; those with 0 come last, by position."""
    ordered = 1 + np.argsort(-item_counts_N[1:], kind="stable")
    if candidates is not None:
        ordered = ordered[candidates[ordered]]
    head_H = ordered[: k + int(histories.lengths.max(initial=0))]  # at most a whole history of them is left out
    rank_N = np.full(len(item_counts_N), len(head_H))
    rank_N[head_H] = np.arange(len(head_H))
    ranked_QK = np.zeros((len(histories), k), np.int32)
    step = max(1, CELLS // max(1, len(head_H)))
    for start in range(0, len(histories), step):
        chunk = histories.take(np.arange(start, min(start + step, len(histories))))
        struck_QH = np.zeros((len(chunk), len(head_H) + 1), bool)
        struck_QH[chunk.row_of_value, rank_N[chunk.values]] = True
        first_QK = np.argsort(struck_QH[:, :-1], axis=1, kind="stable")[:, :k]
        kept_QK = np.where(np.take_along_axis(struck_QH, first_QK, axis=1), 0, head_H[first_QK])
        ranked_QK[start : start + len(chunk), : kept_QK.shape[1]] = kept_QK
    return ranked_QK


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
    seen_UN = seen_by(train, num_items)
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
