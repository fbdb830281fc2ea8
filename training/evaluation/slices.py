"""Slices: subsets of the queries or targets on which a model may be worse than it is overall.

Shape suffixes: Q queries, T targets of all queries, N catalogue positions.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from recsys import metrics
from recsys.bundle import AnyBundle
from recsys.data import Jagged, lookup_rows

from .evaluation_set import EvaluationSet

HEAD_SHARE, TORSO_SHARE = 0.5, 0.8  # of the training events, counted from the most popular item


@dataclass(frozen=True)
class Slice:
    """Some of the queries, and some of their targets. queries: [Q]; targets: [T], over the targets of all queries."""

    name: str
    queries: metrics.Bool
    targets: metrics.Bool

    def num_queries(self, evaluated: EvaluationSet) -> int:
        """How many queries of the slice have a target in it."""
        return len(self._rows(evaluated, self._targets(evaluated)))

    def values(self, evaluated: EvaluationSet, method: str) -> metrics.Float64:
        """NDCG@10 of every query of the slice, by the targets in the slice alone."""
        targets = self._targets(evaluated)
        rows = self._rows(evaluated, targets)
        targets = targets.take(rows)
        return metrics.ndcg(metrics.hits(evaluated.ranked[method][rows], targets), metrics.count_targets(targets), 10)

    def _targets(self, evaluated: EvaluationSet) -> Jagged:
        return evaluated.targets.keep(self.targets)

    def _rows(self, evaluated: EvaluationSet, targets: Jagged) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        return np.flatnonzero((targets.lengths > 0) & self.queries)


def slices_of(evaluated: EvaluationSet, bundle: AnyBundle, trained_users: pl.Series | None) -> Iterator[Slice]:
    """The slices that have a query: by length of the history and by popularity of the target.

    Args:
        evaluated: the queries.
        bundle: its training events by item decide what is popular and what is cold.
        trained_users: ids of the users that were trained on; None if unknown, and then new users are no slice.
    """
    every_query = np.ones(len(evaluated.history), bool)
    every_target = np.ones(len(evaluated.targets.values), bool)
    slices = [Slice(name, chosen, every_target) for name, chosen in _by_query(evaluated, trained_users).items()]
    slices += [Slice(name, every_query, chosen[evaluated.targets.values]) for name, chosen in _by_item(bundle).items()]
    yield from (part for part in slices if part.num_queries(evaluated))


def _by_query(evaluated: EvaluationSet, trained_users: pl.Series | None) -> dict[str, metrics.Bool]:
    """Name -> [Q] bool."""
    lengths = evaluated.history.lengths
    low, high = np.quantile(lengths, [1 / 3, 2 / 3])
    slices: dict[str, metrics.Bool] = {}
    if trained_users is not None:
        slices["new users"] = lookup_rows(evaluated.user_ids, trained_users) < 0
    slices[f"short histories (up to {low:.0f})"] = lengths <= low
    slices[f"long histories (over {high:.0f})"] = lengths > high
    return slices


def _by_item(bundle: AnyBundle) -> dict[str, metrics.Bool]:
    """Name -> [N] bool."""
    counts = bundle.item_counts
    by_popularity = np.argsort(-counts, kind="stable")
    share_before = np.empty(len(counts))  # of the training events, which more popular items have
    share_before[by_popularity] = (np.cumsum(counts[by_popularity]) - counts[by_popularity]) / max(1, counts.sum())
    position = np.arange(len(counts))
    cold = (position > 0) & (counts == 0)
    trained = ~cold & (position > 0)
    return {
        "head items (half of the events)": trained & (share_before < HEAD_SHARE),
        "torso items (the next 30%)": trained & (share_before >= HEAD_SHARE) & (share_before < TORSO_SHARE),
        "tail items (the last 20%)": trained & (share_before >= TORSO_SHARE),
        "cold items (no training event)": cold,
    }
