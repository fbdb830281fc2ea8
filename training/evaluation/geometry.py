"""The geometry of the learned space: how close users are to their items, how even both sides are, which items are hubs.

Large inputs are sampled, so that the cost is bounded for any catalogue. The same seed gives the same figures.

Shapes: N catalogue positions, row 0 of them unused; B users; P sampled pairs; D dimensions; K ranks; M items on a map.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from recsys.data import Int64, Jagged
from recsys.errors import InputError
from recsys.search import norms, unit_rows

from ..validation import rank
from .sketch import Floats, Sketch, draw_sketch, sample_rows

NUM_PAIRS = 100_000
NUM_USERS = 2_000  # sampled for hubness
NUM_ROWS = 100_000  # of the item matrix, sampled for its effective rank
MAP_DIMENSIONS = 50  # principal components given to t-SNE, as van der Maaten & Hinton 2008 advise
MIN_MAP_ITEMS = 4
ONE_DIRECTION = -0.5  # the uniformity of vectors whose cosines are .88; that of two opposite ones is -0.7
FEW_DIMENSIONS = 0.1  # of those that could be in use; a good space of 240 documents uses 50 of 240 (docs/LOG.md)


@dataclass(frozen=True)
class Geometry:
    """Figures of one model, all finite; the function that measures a figure explains it. gap: None in older records."""

    alignment: float
    item_uniformity: float
    user_uniformity: float
    hubness: float
    item_norm_mean: float
    item_norm_std: float
    norm_popularity_correlation: float
    effective_rank: float
    gap: float | None = None


def measure(
    item_vectors_ND: Floats,
    user_vectors_BD: Floats,
    target_positions_B: npt.NDArray[np.integer],
    item_counts_N: Int64,
    *,
    seed: int,
) -> tuple[Geometry, Sketch]:
    """Measure a space in which the score is the inner product of a user's and an item's vector, and sketch it.

    Args:
        item_vectors_ND: [num_items + 1, D] by position; row 0 is ignored.
        user_vectors_BD: [B, D].
        target_positions_B: [B] each user's next item; users whose target is unknown (0) are left out of the alignment.
        item_counts_N: [num_items + 1] training events by position; entry 0 is ignored.
        seed: of the samples.

    Raises:
        InputError: fewer than two items, two users or one known target.
    """
    known = target_positions_B > 0
    if len(item_vectors_ND) < 3 or len(user_vectors_BD) < 2 or not known.any():
        raise InputError(
            f"geometry needs 2 items, 2 users and 1 known target; found {len(item_vectors_ND) - 1}, "
            f"{len(user_vectors_BD)} and {int(known.sum())}"
        )
    rng = np.random.default_rng(seed)
    items = item_vectors_ND[1:]
    lengths, targets_BD = norms(items), item_vectors_ND[target_positions_B[known]]
    item_uniformity, user_uniformity = uniformity(items, rng), uniformity(user_vectors_BD, rng)
    listed_N = occurrences(sample_rows(user_vectors_BD, NUM_USERS, rng), item_vectors_ND, k=10)
    rows_ND = sample_rows(items, NUM_ROWS, rng)
    figures = Geometry(
        alignment=alignment(user_vectors_BD[known], targets_BD),
        item_uniformity=item_uniformity,
        user_uniformity=user_uniformity,
        hubness=skewness(listed_N),
        item_norm_mean=float(lengths.mean()),
        item_norm_std=float(lengths.std()),
        norm_popularity_correlation=correlation(lengths, np.log1p(item_counts_N[1:])),
        effective_rank=effective_rank(rows_ND),
        gap=gap(user_vectors_BD, rows_ND),
    )
    return figures, draw_sketch(user_vectors_BD, rows_ND, (user_vectors_BD[known], targets_BD), listed_N, rng)


def collapsed(figures: Geometry, num_dimensions: int) -> str | None:
    """What has collapsed, as a clause in plain words; None for a space that has not.

    Neither the vectors' lengths nor the size of the catalogue matter: a side has collapsed if its vectors point nearly
    the same way (``ONE_DIRECTION``), items also if they lie in few dimensions (``FEW_DIMENSIONS``).

    Args:
        figures: The figures.
        num_dimensions: How many could be in use: those of a vector, or as many as there are items, if they are fewer.
    """
    for side, value in (("items", figures.item_uniformity), ("users", figures.user_uniformity)):
        if value > ONE_DIRECTION:
            return f"all {side} point nearly the same way"
    return "the items use few of its dimensions" if are_few(figures.effective_rank, num_dimensions) else None


def are_few(effective_rank: float, num_dimensions: int) -> bool:
    """Whether these are few of the dimensions that could be in use; vectors on one line have 1."""
    return effective_rank < 1 + FEW_DIMENSIONS * (num_dimensions - 1)


def alignment(user_BD: Floats, item_BD: Floats) -> float:
    """Mean squared distance between the unit vectors of users and of their targets (Wang & Isola 2020, alpha = 2).

    0: users point at their targets; 2: at right angles to them, on average; 4: away from them.
    """
    return float(np.square(unit_rows(user_BD) - unit_rows(item_BD)).sum(axis=1).mean())


def gap(user_BD: Floats, item_ND: Floats) -> float:
    """Distance of the centroids of both sides' unit vectors (the modality gap of Liang et al. 2022).

    0: both clouds have one centre; 2: all users point away from all items. Its square is a part of the alignment that
    no choice of the pairs could lower, but it hardly changes an order: items that all are as far away stay in order.
    """
    return float(np.linalg.norm(unit_rows(user_BD).mean(axis=0) - unit_rows(item_ND).mean(axis=0)))


def uniformity(vectors_BD: Floats, rng: np.random.Generator) -> float:
    """Log of the mean of exp(-2 d^2) over pairs of different rows, as unit vectors (Wang & Isola 2020, t = 2).

    0: all rows point the same way; lower is more even; -4: rows at right angles. Estimated from ``NUM_PAIRS`` random
    pairs. Needs two rows.
    """
    first_P = rng.integers(len(vectors_BD), size=NUM_PAIRS)
    second_P = (first_P + rng.integers(1, len(vectors_BD), size=NUM_PAIRS)) % len(vectors_BD)
    square_P = np.square(unit_rows(vectors_BD[first_P]) - unit_rows(vectors_BD[second_P])).sum(axis=1)
    return float(np.log(np.exp(-2 * square_P).mean()))


def occurrences(query_BD: Floats, item_vectors_ND: Floats, k: int) -> Int64:
    """[N - 1] int64: in how many queries' top ``k`` by inner product each item is (N_k of Radovanović et al. 2010).

    Items that are in a query's history already are not excluded. Row 0 of ``item_vectors_ND`` is nobody's.
    """
    without_history = Jagged.from_lengths(np.empty(0, np.int32), np.zeros(len(query_BD), np.int64))
    top_BK = rank(torch.from_numpy(query_BD), torch.from_numpy(item_vectors_ND), without_history, k)
    return np.bincount(top_BK[top_BK > 0], minlength=len(item_vectors_ND))[1:]


def skewness(values_N: npt.NDArray[np.number]) -> float:
    """Third standardised moment E[(x - mean)^3] / std^3; 0 if all values are equal.

    The skewness of ``occurrences`` is the hubness: 0 if all items are listed equally often, large if a few hubs fill
    the lists and many items ("antihubs") are in none.
    """
    centred_N = values_N - values_N.mean()
    std = centred_N.std()
    return float(np.mean((centred_N / std) ** 3)) if std > 0 else 0.0


def correlation(x_N: Floats, y_N: Floats) -> float:
    """Pearson's correlation; 0 if one side varies by rounding errors only, as norms do under cosine similarity."""
    if any(values.std() <= 1e-5 * np.abs(values).max() for values in (x_N, y_N)):
        return 0.0
    return float(np.corrcoef(x_N.astype(np.float64), y_N)[0, 1])


def effective_rank(matrix_ND: Floats) -> float:
    """Exponential of the entropy of the singular values' shares (Roy & Vetterli 2007).

    Between 1 (all rows on one line) and min(N, D) (all directions equally strong); 0 for a zero matrix. The mean is not
    subtracted, so a direction that all items share counts.
    """
    gram_DD = matrix_ND.T.astype(np.float64) @ matrix_ND.astype(np.float64)
    singular_D = np.sqrt(np.maximum(np.linalg.eigvalsh(gram_DD), 0))
    share_D = singular_D[singular_D > 1e-7 * singular_D[-1]] / max(singular_D.sum(), np.finfo(np.float64).tiny)
    return float(np.exp(-(share_D * np.log(share_D)).sum())) if len(share_D) else 0.0


def map_2d(item_vectors_ND: Floats, *, seed: int, num_items: int = 2000) -> tuple[Int64, Floats]:
    """Place up to ``num_items`` random items on a plane.

    t-SNE (van der Maaten & Hinton 2008) of the unit vectors, started at their first two principal components: items
    close on the map have similar directions; distances between far groups mean nothing. The same seed gives the same
    map. Row 0 of ``item_vectors_ND`` is ignored.

    Returns:
        Positions [M] in ascending order, and coordinates [M, 2] float32. Equal vectors give a single dot.

    Raises:
        InputError: fewer than 4 items.
    """
    from sklearn.manifold import TSNE  # takes a second to import, and only this function needs it

    if len(item_vectors_ND) <= MIN_MAP_ITEMS:
        raise InputError(f"a map needs {MIN_MAP_ITEMS} items, found {len(item_vectors_ND) - 1}: leave the map out")
    positions = np.arange(1, len(item_vectors_ND))
    if len(positions) > num_items:
        positions = np.sort(np.random.default_rng(seed).choice(positions, num_items, replace=False))
    unit_MD = unit_rows(item_vectors_ND[positions]).astype(np.float64)
    centred_MD = unit_MD - unit_MD.mean(axis=0)
    _, direction_DD = np.linalg.eigh(centred_MD.T @ centred_MD)
    reduced_MD = centred_MD @ direction_DD[:, ::-1][:, :MAP_DIMENSIONS]
    perplexity = min(30.0, (len(positions) - 1) / 3)
    start_M2 = reduced_MD[:, :2] * (1e-4 / max(reduced_MD[:, 0].std(), 1e-12))
    tsne = TSNE(perplexity=perplexity, init=start_M2.astype(np.float32), max_iter=500, random_state=seed)
    return positions, tsne.fit_transform(reduced_MD).astype(np.float32)
