"""Queries with the rankings of every method: what figures are computed from."""

from dataclasses import dataclass

import polars as pl

from recsys.data import Int32, Jagged


@dataclass(frozen=True)
class EvaluationSet:
    """Queries and their rankings in catalogue positions.

    user_ids: [Q]. history, targets: [Q] rows. ranked: method -> [Q, K] int32, best first, 0 for padding.
    """

    user_ids: pl.Series
    history: Jagged
    targets: Jagged
    ranked: dict[str, Int32]
