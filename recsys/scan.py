"""Exact candidates of a few users at once, in the time it takes to read a byte for each number of the catalogue.

Vectors are rounded to 8 bits, each by a scale of its own, and multiplied as integers: a score is off by what rounding
took from user and item, at most, and whoever that may have cost a place is a candidate, too. Float64 decides
(recsys/ranking.py). For many users at once scores cost more than reading: see recsys/tiled.py.

Legend: B users, N items, D dimensions, F wanted candidates, C candidates.
"""

import numpy as np
import torch
from torch import Tensor

from .codes import Int64
from .history import Jagged
from .ranking import FLOAT32_ERROR, Float32
from .tiled import MOST, SAMPLE_ITEMS, floor, most_by_parts, multiplies

LARGEST = 127  # of a signed byte, in both directions
BOTH = 2.001  # errors between two scores: of the worst answer and of whoever may be better; the rest for rounding


class Scan:
    """A catalogue matrix [N + 1, D] float32, whose row 0 is nobody's answer, as bytes.

    max_norm: of its rows.
    """

    def __init__(self, vectors_ND: Float32, max_norm: float) -> None:
        items_ND = torch.from_numpy(vectors_ND)
        self._max_norm = max_norm
        self._items_ND = torch.empty_like(items_ND, dtype=torch.int8)
        self._scale_N1 = torch.empty(len(items_ND), 1)
        self._max_rounded = most_by_parts(self._round, items_ND)
        self._stride = max(2, len(vectors_ND) // SAMPLE_ITEMS)

    @staticmethod
    def pays() -> bool:
        """Whether the CPU multiplies bytes: others take longer than for floats, and some give wrong sums."""
        return hasattr(torch, "_int_mm") and (multiplies("avx512_vnni") or multiplies("avx_vnni"))

    def exceeding(
        self, users_BD: Float32, fetch: int, *, excluded: Jagged, barred: Int64
    ) -> tuple[Int64, Float32, Float32, Float32]:
        """As ``Tiles.exceeding``, but just above what the best ``fetch`` need: more of them decide nothing."""
        users = torch.from_numpy(users_BD)
        bytes_BD, scale_B1 = _bytes(users)
        rounded_B, norm_B = (users - bytes_BD * scale_B1).norm(dim=1), users.norm(dim=1)
        reach = self._max_norm + self._max_rounded
        error_B: Float32 = (reach * (rounded_B + FLOAT32_ERROR * norm_B) + self._max_rounded * norm_B).numpy()
        users_DB = bytes_BD.to(torch.int8).T.clone(memory_format=torch.contiguous_format)  # as the product needs it
        scores_NB = (torch._int_mm(self._items_ND, users_DB) * self._scale_N1).mul_(scale_B1.ravel()).numpy()
        scores_NB[excluded.values, excluded.row_of_value] = -np.inf
        scores_NB[barred] = -np.inf
        floor_B = floor(scores_NB[:: self._stride].T.copy(), self._stride, fetch)
        hits = []
        for user, scores_N in enumerate(scores_NB.T):
            above = scores_N[scores_N > floor_B[user]]
            if len(above) >= fetch:
                floor_B[user] = np.partition(above, -fetch)[-fetch] - BOTH * error_B[user]
            hit = np.flatnonzero(scores_N > floor_B[user])
            hits.append(hit if len(hit) <= MOST * fetch else hit[:0])
        positions = Jagged.from_rows(hits, np.int64)
        near = Jagged(scores_NB[positions.values, positions.row_of_value], positions.offsets)
        return positions.padded(), near.padded(-np.inf), floor_B, error_B

    def _round(self, rows: slice, exact: Tensor) -> float:
        whole, self._scale_N1[rows] = _bytes(exact)
        self._items_ND[rows] = whole.to(torch.int8)
        return float((exact - whole * self._scale_N1[rows]).norm(dim=1).max())


def _bytes(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Whole numbers [n, D] of at most LARGEST, as float32, and what each row of them [n, 1] is to be multiplied by."""
    scale = (vectors.abs().amax(dim=1, keepdim=True) / LARGEST).clamp(min=torch.finfo(torch.float32).tiny)
    return (vectors / scale).round_().clamp_(-LARGEST, LARGEST), scale
