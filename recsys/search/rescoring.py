"""Deciding among candidates: who may get what, exact scores, and one order for scores and ties.

Legend: B users, N items, D dimensions, F candidates, K answers, P (user, item) pairs. Position 0 is padding.
"""

from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from ..data import Int32, Int64, Jagged

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

FLOAT32_ERROR = 1e-5  # of an inner product in float32, relative to |user| * the largest |item|
FLOAT32_TINY = float(np.finfo(np.float32).tiny)  # below it, numbers lose digits, or all of themselves
RESCORE_VALUES = 2**16  # float64 values gathered at once: half a megabyte stays in cache


class Eligibility:
    """Who may get what."""

    def __init__(self, num_items: int, num_users: int, excluded: Jagged | None, allowed: Bool | None) -> None:
        self._stride = num_items + 1
        self._allowed = allowed
        nothing = Jagged(np.empty(0, np.int32), np.zeros(num_users + 1, np.int64))
        self._excluded = nothing if excluded is None else excluded

    def excluded(self, user_B: Int64) -> Jagged:
        """B rows of positions, as they came."""
        return self._excluded.take(user_B)

    @cached_property
    def barred(self) -> Int64:
        """Ascending positions that nobody gets: 0, and what is not allowed."""
        others = np.empty(0, np.int64) if self._allowed is None else 1 + np.flatnonzero(~self._allowed[1:])
        return np.concatenate(([0], others))

    @cached_property
    def _keys(self) -> Int64:
        """Exclusions as one sorted array of distinct keys ``user * (N + 1) + position``."""
        values = self._excluded.values.astype(np.int64)
        keys = (self._excluded.row_of_value * self._stride + values)[values > 0]
        few = len(self._excluded) == 1
        keys = np.sort(keys) if few else pl.Series(keys).sort().to_numpy()  # a request waits for no pool
        return keys[np.diff(keys, prepend=-1) > 0]

    @property
    def num_excluded(self) -> Int64:
        """[B] int64."""
        return np.bincount(self._keys // self._stride, minlength=len(self._excluded))

    def mask(self, user_B: Int64, positions_BF: Int64) -> Bool:
        """[B, F] bool: may that user get that position?"""
        keep_BF = positions_BF > 0
        if self._allowed is not None:
            keep_BF &= self._allowed[positions_BF]
        if len(self._keys):
            wanted_BF = user_B[:, None] * self._stride + positions_BF
            found_BF = np.searchsorted(self._keys, wanted_BF)
            keep_BF &= self._keys[np.minimum(found_BF, len(self._keys) - 1)] != wanted_BF
        return keep_BF


def padding(num_users: int, k: int) -> tuple[Int32, Float32]:
    """[B, K] positions 0 and scores -inf: nobody has an answer yet."""
    return np.zeros((num_users, k), np.int32), np.full((num_users, k), -np.inf, np.float32)


def norms(vectors_ND: Float32) -> Float64:
    """[N] float64, in which squares neither vanish nor overflow."""
    lengths_N: Float64 = np.sqrt(np.einsum("nd,nd->n", vectors_ND, vectors_ND, dtype=np.float64))
    return lengths_N


def rescore(vectors_ND: Float32, users_BD: Float32, positions_BF: Int64) -> Float32:
    """[B, F] inner products, each its own float64 dot product, so that no grouping can change a bit."""
    scores_BF = np.empty(positions_BF.shape, np.float32)
    exact_users_BD = users_BD.astype(np.float64)
    num_pairs = max(1, RESCORE_VALUES // vectors_ND.shape[1])
    for user in range(0, len(users_BD), step := max(1, num_pairs // positions_BF.shape[1])):
        for start in range(0, positions_BF.shape[1], num_pairs):
            part = slice(user, user + step), slice(start, start + num_pairs)
            items_PD = vectors_ND[positions_BF[part]].astype(np.float64)
            scores_BF[part] = np.vecdot(items_PD, exact_users_BD[part[0], None])
    return scores_BF


def sort_keys(scores_BF: Float32, positions_BF: Int64) -> Int64:
    """One int64 per candidate that sorts by score descending, then position ascending; (-inf, 0) comes last."""
    bits_BF = (scores_BF + np.float32(0)).view(np.int32)  # adding 0 turns -0.0 into its equal, 0.0
    return (~monotone(bits_BF)).astype(np.int64) << 32 | positions_BF


def from_sort_keys(keys_BK: Int64) -> tuple[Int32, Float32]:
    """Positions and scores back from ``sort_keys``."""
    bits_BK = monotone(~(keys_BK >> 32).astype(np.int32))
    return (keys_BK & 0x7FFFFFFF).astype(np.int32), bits_BK.view(np.float32)


def monotone(bits: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Bits of floats, as integers, to integers that order as the floats do, and back: below zero, all but one flip."""
    ordered: npt.NDArray[Any] = bits ^ ((bits >> (8 * bits.itemsize - 1)) & np.iinfo(bits.dtype).max)
    return ordered
