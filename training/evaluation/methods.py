"""The baselines that a model is compared with on the same queries.

To add one, write a function that ranks a ``RankingTask`` and give it a line in BASELINES: evaluation, report, demo and
gate read that table.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from recsys.data import Int32, Jagged

from . import baselines

MODEL = "model"
HALF_LIFE = 1.0  # events, for item-kNN on ordered data: the best on three data sets (docs/LOG.md)
EASE_HALF_LIFE = 3.0  # likewise for EASE
EASE_LIMIT = 15_000  # items: EASE inverts a dense matrix of them, in about 40 s and 3 GB at this size


@dataclass(frozen=True)
class RankingTask:
    """Rank the top ``k`` items for each query, knowing the training log.

    training: [U] the histories of training. ordered: whether histories are in order of time. histories: [Q] those of
    the queries. Both are in catalogue positions.
    """

    training: Jagged
    num_items: int
    ordered: bool
    histories: Jagged
    k: int


def popularity(task: RankingTask) -> Int32:
    """Rank by the number of training events."""
    known = task.training.values[task.training.values > 0]
    return baselines.popularity(np.bincount(known, minlength=task.num_items + 1), task.histories, task.k)


def item_knn(task: RankingTask) -> Int32:
    """Rank by similarity to the items of the history."""
    half_life = HALF_LIFE if task.ordered else None
    return baselines.item_knn(task.training, task.num_items, task.histories, task.k, half_life=half_life)


def ease(task: RankingTask) -> Int32:
    """Rank by a linear item-item model."""
    half_life = EASE_HALF_LIFE if task.ordered else None
    return baselines.ease(task.training, task.num_items, task.histories, task.k, half_life=half_life)


@dataclass(frozen=True)
class Baseline:
    """One line of BASELINES.

    name: in records. label: what people read. rank: [Q, k] catalogue positions, as baselines.py describes. required:
    the gate refuses a version that does not beat it. applies: whether it is affordable for a task.
    """

    name: str
    label: str
    rank: Callable[[RankingTask], Int32]
    required: bool = False
    applies: Callable[[RankingTask], bool] = lambda task: True


BASELINES = (
    Baseline("popularity", "popularity", popularity, required=True),
    Baseline("item_knn", "item-kNN", item_knn, required=True),
    Baseline("ease", "EASE", ease, applies=lambda task: task.num_items <= EASE_LIMIT),
)


def label(method: str) -> str:
    """The name of a method that people read: ``item-kNN`` for ``item_knn``."""
    return next((baseline.label for baseline in BASELINES if baseline.name == method), method)
