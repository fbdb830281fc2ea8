"""The geometry of the learned space: how near users are to their items, how evenly both spread, which items are hubs.

Everything is sampled where the whole would be large, so that the cost is bounded whatever the catalogue. The same seed
gives the same figures.

Shapes: N catalogue positions, row 0 of them unused; B users; P sampled pairs; D dimensions; K ranks; M items on a map.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recsys.data import Int64
from recsys.errors import InputError
from recsys.search import unit_rows

Floats = npt.NDArray[np.floating]

NUM_PAIRS = 100_000
NUM_USERS = 2_000  # whose lists are counted for hubness
NUM_ROWS = 100_000  # of the item matrix, for its effective rank
CELLS = 2**24  # of a block of scores
MAP_DIMENSIONS = 50  # before t-SNE, as van der Maaten & Hinton 2008 advise
MIN_MAP_ITEMS = 4


@dataclass(frozen=True)
class Geometry:
    """Figures of one model, all finite; each is described at the function that measures it."""

    alignment: float
    item_uniformity: float
    user_uniformity: float
    hubness: float
    item_norm_mean: float
    item_norm_std: float
    norm_popularity_correlation: float
    effective_rank: float


def measure(
    item_vectors_ND: Floats,
    user_vectors_BD: Floats,
    target_positions_B: npt.NDArray[np.integer],
    item_counts_N: Int64,
    *,
    seed: int,
) -> Geometry:
    """Measure a space whose score is the inner product of a user's and an item's vector.

    item_vectors_ND, item_counts_N: by position, [num_items + 1, D] and training events; row 0 is ignored.
    target_positions_B: each user's next item; users whose target is 0 (unknown) are left out of the alignment. Raises
    InputError with fewer than two items, two users or one known target.
    """
    known = target_positions_B > 0
    if len(item_vectors_ND) < 3 or len(user_vectors_BD) < 2 or not known.any():
        raise InputError(
            f"geometry needs 2 items, 2 users and 1 known target; found {len(item_vectors_ND) - 1}, "
            f"{len(user_vectors_BD)} and {int(known.sum())}"
        )
    rng = np.random.default_rng(seed)
    items = item_vectors_ND[1:]
    norms = np.linalg.norm(items, axis=1)
    return Geometry(
        alignment=alignment(user_vectors_BD[known], item_vectors_ND[target_positions_B[known]]),
        item_uniformity=uniformity(items, rng),
        user_uniformity=uniformity(user_vectors_BD, rng),
        hubness=skewness(occurrences(_sample(user_vectors_BD, NUM_USERS, rng), items, k=10)),
        item_norm_mean=float(norms.mean()),
        item_norm_std=float(norms.std()),
        norm_popularity_correlation=correlation(norms, np.log1p(item_counts_N[1:])),
        effective_rank=effective_rank(_sample(items, NUM_ROWS, rng)),
    )


def alignment(user_BD: Floats, item_BD: Floats) -> float:
    """Mean squared distance of unit vectors of users and their target items (Wang & Isola 2020, alpha = 2).

    0: every user points at the target; 2: at right angles on average; 4: away from it.
    """
    return float(np.square(unit_rows(user_BD) - unit_rows(item_BD)).sum(axis=1).mean())


def uniformity(vectors_BD: Floats, rng: np.random.Generator) -> float:
    """Log of the mean of exp(-2 d^2) over pairs of different rows, as unit vectors (Wang & Isola 2020, t = 2).

    0: all point the same way; lower is more even, -4 for rows at right angles. Estimated from ``NUM_PAIRS`` random
    pairs. Needs two rows.
    """
    unit_BD = unit_rows(vectors_BD)
    first_P = rng.integers(len(unit_BD), size=NUM_PAIRS)
    second_P = (first_P + rng.integers(1, len(unit_BD), size=NUM_PAIRS)) % len(unit_BD)
    square_P = np.square(unit_BD[first_P] - unit_BD[second_P]).sum(axis=1)
    return float(np.log(np.exp(-2 * square_P).mean()))


def occurrences(query_BD: Floats, item_ND: Floats, k: int) -> Int64:
    """[N] int64: N_k of Radovanović et al. 2010, in how many queries' top ``k`` by inner product each item is.

    Lists are of the bare space: items already in a history are not taken out.
    """
    counts_N = np.zeros(len(item_ND), np.int64)
    k = min(k, len(item_ND))
    step = max(1, CELLS // len(item_ND))
    for start in range(0, len(query_BD), step):
        far_BN = -(query_BD[start : start + step] @ item_ND.T)
        top_BK = np.argpartition(far_BN, k - 1, axis=1)[:, :k]
        counts_N += np.bincount(top_BK.ravel(), minlength=len(item_ND))
    return counts_N


def skewness(values_N: npt.NDArray[np.number]) -> float:
    """Third standardised moment E[(x - mean)^3] / std^3; 0 for values all alike.

    Of ``occurrences`` it is the hubness: 0 where all items are listed equally often, large where few hubs fill the
    lists and many items ("antihubs") are in none.
    """
    centred_N = values_N - values_N.mean()
    std = centred_N.std()
    return float(np.mean((centred_N / std) ** 3)) if std > 0 else 0.0


def correlation(x_N: Floats, y_N: Floats) -> float:
    """Pearson's correlation; 0 where one side does not vary but for rounding, as norms under cosine similarity."""
    if any(values.std() <= 1e-5 * np.abs(values).max() for values in (x_N, y_N)):
        return 0.0
    return float(np.corrcoef(x_N.astype(np.float64), y_N)[0, 1])


def effective_rank(matrix_ND: Floats) -> float:
    """Exponential of the entropy of the singular values' shares (Roy & Vetterli 2007).

    Between 1 (all rows on one line) and min(N, D) (all directions equally strong); 0 for a zero matrix. The mean is not
    subtracted: a direction common to all items is part of the matrix.
    """
    gram_DD = matrix_ND.T.astype(np.float64) @ matrix_ND.astype(np.float64)
    singular_D = np.sqrt(np.maximum(np.linalg.eigvalsh(gram_DD), 0))
    share_D = singular_D[singular_D > 1e-7 * singular_D[-1]] / max(singular_D.sum(), np.finfo(np.float64).tiny)
    return float(np.exp(-(share_D * np.log(share_D)).sum())) if len(share_D) else 0.0


def map_2d(item_vectors_ND: Floats, *, seed: int, num_items: int = 2000) -> tuple[Int64, Floats]:
    """A flat map of up to ``num_items`` random items: their positions [M], rising, and coordinates [M, 2] float32.

    t-SNE (van der Maaten & Hinton 2008) of the unit vectors, from their first two principal components: near on the map
    means a similar direction; distances between far groups mean nothing. Row 0 of ``item_vectors_ND`` is ignored. The
    same seed gives the same map; vectors all alike give a single dot. Raises InputError for fewer than 4 items.
    """
    from sklearn.manifold import TSNE  # a second to import, for this function alone

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


def _sample(rows_BD: Floats, size: int, rng: np.random.Generator) -> Floats:
    if len(rows_BD) <= size:
        return rows_BD
    return rows_BD[np.sort(rng.choice(len(rows_BD), size, replace=False))]
