"""How well a model tells which texts belong together: translations, graded similarities and triplets.

Texts are compared by the cosine of their vectors. Of a retriever these are the vectors by which ``search_text``
compares; words do not count beside them. With ``user_column``, as in ``Query(user={"text": "..."})``, the first text of
a pair is read as this column of a user, as it was in the training on pairs.

Shapes: P pairs or triplets, D dimensions.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from .text_model import Float32, TextModel, aligned_vectors

CELLS = 2**24  # cosines in memory at a time


@dataclass(frozen=True)
class TranslationFigures:
    """How often the closest text of the other side is the right one: accuracy@1 in both directions."""

    num_pairs: int
    source_to_target: float
    target_to_source: float


@dataclass(frozen=True)
class SimilarityFigures:
    """Spearman's correlation of cosines and scores: 1 if both order the pairs alike, 0 on average if by chance."""

    num_pairs: int
    spearman: float


@dataclass(frozen=True)
class TripletFigures:
    """The share of anchors that are closer to their positive than to their negative. A tie is not closer."""

    num_triplets: int
    accuracy: float


def evaluate_translation(
    model: TextModel, sources: Sequence[str], targets: Sequence[str], *, user_column: str | None = None
) -> TranslationFigures:
    """Measure how often the closest text of the other side is the translation, both ways.

    Args:
        model: An encoder or a retriever.
        sources: [P] texts.
        targets: [P] their translations, among all of which each is looked for. Of equal texts, any is right.
        user_column: The column of users as which a retriever reads the sources.

    Raises:
        InputError: The lists differ in length or are empty, or the encoder returns something else than vectors.
    """
    source_PD, target_PD = aligned_vectors(model, user_column, sources=sources, targets=targets)
    return TranslationFigures(
        num_pairs=len(sources),
        source_to_target=_accuracy(source_PD, target_PD, targets),
        target_to_source=_accuracy(target_PD, source_PD, sources),
    )


def evaluate_similarity(
    model: TextModel,
    texts: Sequence[str],
    others: Sequence[str],
    scores: Sequence[float] | npt.NDArray[np.floating],
    *,
    user_column: str | None = None,
) -> SimilarityFigures:
    """Measure whether pairs that people find more alike have a higher cosine.

    Args:
        model: An encoder or a retriever.
        texts: [P] one text of each pair.
        others: [P] the other.
        scores: [P] how alike they are, on any scale.
        user_column: The column of users as which a retriever reads ``texts``.

    Raises:
        InputError: As for ``evaluate_translation``; or there is no order to compare, since all scores or all cosines
            are equal.
    """
    from scipy.stats import spearmanr  # takes a second to import, and only this function needs it

    text_PD, other_PD = aligned_vectors(model, user_column, texts=texts, others=others)
    scores_P, cosines_P = np.asarray(scores, np.float64), (text_PD.astype(np.float64) * other_PD).sum(axis=1)
    if scores_P.shape != cosines_P.shape or not np.isfinite(scores_P).all():
        raise InputError(f"scores have shape {scores_P.shape}; expected a finite number for each of {len(texts)} pairs")
    for name, values_P in (("scores", scores_P), ("cosines", cosines_P)):
        if np.ptp(values_P) == 0:
            raise InputError(
                f"the {name} of all {len(texts)} pairs are {values_P[0]:g}; expected some that differ, for an order"
            )
    return SimilarityFigures(num_pairs=len(texts), spearman=float(spearmanr(cosines_P, scores_P).statistic))


def evaluate_triplets(
    model: TextModel,
    anchors: Sequence[str],
    positives: Sequence[str],
    negatives: Sequence[str],
    *,
    user_column: str | None = None,
) -> TripletFigures:
    """Measure how often an anchor is closer to its positive than to its negative.

    Args:
        model: An encoder or a retriever.
        anchors: [P] texts.
        positives: [P] a text that belongs to each.
        negatives: [P] a text that does not.
        user_column: The column of users as which a retriever reads the anchors.

    Raises:
        InputError: As for ``evaluate_translation``.
    """
    anchor_PD, positive_PD, negative_PD = aligned_vectors(
        model, user_column, anchors=anchors, positives=positives, negatives=negatives
    )
    to_positive_P, to_negative_P = ((anchor_PD * other_PD).sum(axis=1) for other_PD in (positive_PD, negative_PD))
    return TripletFigures(num_triplets=len(anchors), accuracy=float(np.mean(to_positive_P > to_negative_P)))


def _accuracy(query_PD: Float32, other_PD: Float32, others: Sequence[str]) -> float:
    """How often the closest of the others is the one in the same row, or equal to it."""
    step, right = max(1, CELLS // len(others)), 0
    for start in range(0, len(others), step):
        closest = (query_PD[start : start + step] @ other_PD.T).argmax(axis=1)
        right += sum(others[row] == others[start + at] for at, row in enumerate(closest.tolist()))
    return right / len(others)
