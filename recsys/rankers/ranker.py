"""The interface of a ranker: all that a retriever asks of the model in its bundle, in catalogue positions.

Shape suffixes: Q queries, K answers, N catalogue positions with 0 among them, D embedding_dim.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ..data import Int32, Int64, Jagged
from ..model import ColumnUpdate

Bool = npt.NDArray[np.bool_]
Float32 = npt.NDArray[np.float32]
Texts = Sequence[str | None]


@dataclass(frozen=True)
class Top:
    """The best items of some queries.

    Attributes:
        positions: [Q, K] int32, best first; 0 pads.
        scores: [Q, K] float32, descending; -inf pads.
        num_popular: [Q] int64, how many of a row's items are there by popularity alone; None: nowhere any.
        reasons: [Q] why a row has no items, None where it has; None: no row has a reason of its own.
    """

    positions: Int32
    scores: Float32
    num_popular: Int64 | None = None
    reasons: Sequence[str | None] | None = None


@dataclass(frozen=True)
class Terms:
    """What makes up one item's score.

    Attributes:
        score: The score.
        rank: The item's rank in the whole catalogue, from 1.
        positions: [events] int32, the known items of the history.
        contributions: [events] float64, what each of them adds.
    """

    score: float
    rank: int
    positions: Int32
    contributions: npt.NDArray[np.float64]


class Ranker(Protocol):
    """A model that ranks. Safe to share between threads. What it cannot do raises InputError."""

    def encode(self, history: Jagged, user_rows: Int64, updates: Sequence[ColumnUpdate] = ()) -> Float32 | None:
        """The users' vectors, which ``rank`` searches with; None from a model that has none.

        Args:
            history: [Q] rows of positions, oldest first; 0 is an unknown item.
            user_rows: [Q] rows of the users' metadata, 0 for unknown users.
            updates: Features of some of these users, by their rows among the Q, in place of their metadata.

        Returns:
            [Q, D], zeros where no item is known.
        """

    def rank(
        self,
        history: Jagged,
        vectors: Float32 | None,
        *,
        k: int,
        exclude_seen: bool,
        allowed: Bool | None,
        texts: Texts | None = None,
    ) -> Top:
        """The ``k`` best items for histories that hold a known item each, or all that are eligible.

        Args:
            history: [Q] rows of positions, as for ``encode``.
            vectors: What ``encode`` returned for these histories.
            k: At most the size of the catalogue.
            exclude_seen: Leave out the items of the history.
            allowed: [N] bool, what anybody may get; None: everything.
            texts: [Q] what the users' columns say, None where nothing; None: nobody's counts.
        """

    def similar(self, positions: Int32, *, k: int, allowed: Bool | None) -> Top:
        """The ``k`` items most similar to each of these, without the item itself."""

    def closest_to_texts(
        self, texts: Sequence[str], updates: Sequence[ColumnUpdate], *, k: int, allowed: Bool | None
    ) -> Top:
        """The ``k`` items closest to each text.

        updates: Features of the items that are sought, by the rows of the texts.
        """

    def terms(self, history: Jagged, user_rows: Int64, position: int) -> Terms:
        """What the items of one history, of which one or more are known, add to the score of an item."""
