"""What the report draws of a space: cosines within and between both sides, both clouds of points, and hubs.

It is recorded beside the figures, so that the report encodes nobody again. For any catalogue the record stays small.

Shapes: B users, N items, P pairs, M points, D dimensions.
"""

from typing import ClassVar

import numpy as np
import numpy.typing as npt

from recsys.data import Int64
from recsys.record import Record
from recsys.search import unit_rows

Floats = npt.NDArray[np.floating]

NUM_BINS = 40  # of the cosines from -1 to 1
NUM_COSINES = 20_000  # sampled of each kind
NUM_POINTS = 300  # of each side on the plane
MOST_LISTED = 10  # the last bin of ``listed`` holds 2 ** 9 lists and more


class Sketch(Record):
    """Samples of a space, to be drawn.

    target_cosines, other_cosines, user_cosines, item_cosines: [NUM_BINS] shares of the cosines, from -1 to 1, of users
    and their targets, users and random items, two random users, and two random items.
    listed: shares of the items that are in nobody's top 10, in 1, in 2 to 3, in 4 to 7, and so on.
    user_xy, item_xy: points of both sides on the plane of ``plane``.
    """

    FILE: ClassVar[str] = "sketch.json"

    target_cosines: list[float]
    other_cosines: list[float]
    user_cosines: list[float]
    item_cosines: list[float]
    listed: list[float]
    user_xy: list[tuple[float, float]]
    item_xy: list[tuple[float, float]]


def draw_sketch(
    user_BD: Floats, item_ND: Floats, pairs: tuple[Floats, Floats], listed_N: Int64, rng: np.random.Generator
) -> Sketch:
    """Sample a space.

    Args:
        user_BD: User vectors, two or more.
        item_ND: Item vectors, two or more.
        pairs: The vectors of users and of their targets, row by row.
        listed_N: In how many users' lists each item is.
        rng: Draws the samples.
    """
    shown_BD, shown_ND = sample_rows(user_BD, NUM_POINTS, rng), sample_rows(item_ND, NUM_POINTS, rng)
    user_xy, item_xy = plane(unit_rows(user_BD), unit_rows(item_ND), unit_rows(shown_BD), unit_rows(shown_ND))
    return Sketch(
        target_cosines=cosine_shares(*pairs),
        other_cosines=cosine_shares(*(rows[rng.integers(len(rows), size=NUM_COSINES)] for rows in (user_BD, item_ND))),
        user_cosines=cosine_shares(*_two_rows(user_BD, rng)),
        item_cosines=cosine_shares(*_two_rows(item_ND, rng)),
        listed=listed_shares(listed_N),
        user_xy=user_xy,
        item_xy=item_xy,
    )


def cosine_shares(first_PD: Floats, second_PD: Floats) -> list[float]:
    """[NUM_BINS] shares of the cosines of vectors, row by row."""
    cosine_P = np.einsum("pd,pd->p", unit_rows(first_PD), unit_rows(second_PD), dtype=np.float64)
    counts, _ = np.histogram(np.clip(cosine_P, -1, 1), bins=NUM_BINS, range=(-1, 1))
    return [round(share, 5) for share in (counts / len(cosine_P)).tolist()]


def listed_shares(listed_N: Int64) -> list[float]:
    """Shares of the items in 0 lists, in 1, in 2 to 3, in 4 to 7, and so on; empty bins at the end are left out."""
    bin_N = np.minimum(np.frexp(listed_N)[1], MOST_LISTED)  # how many binary digits a number has
    return [round(share, 5) for share in (np.bincount(bin_N) / len(listed_N)).tolist()]


def plane(
    user_BD: Floats, item_ND: Floats, shown_users_MD: Floats, shown_items_MD: Floats
) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    """Project points onto the plane on which the gap is seen at its full length.

    The first axis leads from the items' centroid to the users', the origin is half way between both. The second is the
    direction at right angles in which both clouds together are widest. If there is no gap, the first axis is the
    direction in which they are widest.

    Args:
        user_BD: Unit vectors of users.
        item_ND: Unit vectors of items.
        shown_users_MD: Those to project.
        shown_items_MD: The same for items.
    """
    user_D, item_D = (rows.mean(axis=0, dtype=np.float64) for rows in (user_BD, item_ND))
    shown_MD = np.concatenate([shown_users_MD, shown_items_MD]) - (user_D + item_D) / 2
    between_D, length = user_D - item_D, np.linalg.norm(user_D - item_D)
    first_D = between_D / length if length > 1e-6 else _widest(shown_MD)
    first_M = shown_MD @ first_D
    rest_MD = shown_MD - np.outer(first_M, first_D)
    xy = np.round(np.stack([first_M, rest_MD @ _widest(rest_MD)], axis=1), 3)
    points = [(float(x), float(y)) for x, y in xy]
    return points[: len(shown_users_MD)], points[len(shown_users_MD) :]


def sample_rows(rows_BD: Floats, size: int, rng: np.random.Generator) -> Floats:
    """Some of the rows in their order, or all if there are no more."""
    if len(rows_BD) <= size:
        return rows_BD
    return rows_BD[np.sort(rng.choice(len(rows_BD), size, replace=False))]


def _widest(rows_MD: Floats) -> Floats:
    """The unit vector along which rows, around the origin, are spread most."""
    direction_D: Floats = np.linalg.eigh(rows_MD.T @ rows_MD)[1][:, -1]
    return direction_D


def _two_rows(rows_BD: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """[NUM_COSINES, D] twice: pairs of different rows."""
    first_P = rng.integers(len(rows_BD), size=NUM_COSINES)
    second_P = (first_P + rng.integers(1, len(rows_BD), size=NUM_COSINES)) % len(rows_BD)
    return rows_BD[first_P], rows_BD[second_P]
