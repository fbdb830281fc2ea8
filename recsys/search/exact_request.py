"""Exact candidates of a few users at once, in the time it takes to read a byte for each number of the catalogue.

Vectors are rounded to 8 bits, each by a scale of its own, and multiplied as integers. So a score is known up to what
rounding took from user and item; whoever may be among the best is a candidate, and float64 decides (rescoring.py).
For many users at once scores cost more than reading: see exact_batch.py.

Legend: B users, N items, D dimensions, F wanted candidates, C candidates.
"""

import numpy as np
import torch
from torch import Tensor

from ..data import Int64, Jagged
from .exact_batch import SAMPLE_ITEMS, by_parts, multiplies, sampled_floor
from .rescoring import FLOAT32_ERROR, FLOAT32_TINY, Float32, Float64, norms

LARGEST = 127  # of a signed byte, in both directions
USUAL = 1 / 160  # what rounding takes from a vector of 64 or 128 numbers, of its norm


class Scan:
    """A catalogue matrix [N + 1, D] float32, whose row 0 is nobody's answer, as bytes."""

    def __init__(self, vectors_ND: Float32) -> None:
        items_ND = torch.from_numpy(vectors_ND)
        self._items_ND = torch.empty_like(items_ND, dtype=torch.int8)
        self._scale_N, self._error_N = torch.empty(2, len(items_ND))
        by_parts(self._round, items_ND)
        self._stride = max(2, len(vectors_ND) // SAMPLE_ITEMS)

    @staticmethod
    def pays(dim: int) -> bool:
        """Whether this CPU adds products of bytes in 32 bits, and these do not overflow.

        Others take longer than for floats, or add pairs of products in 16 bits, which do.
        """
        fast = multiplies("avx512_vnni") or multiplies("avx_vnni")
        return fast and hasattr(torch, "_int_mm") and dim * LARGEST**2 < 2**31

    def exceeding(
        self, users_BD: Float32, fetch: int, *, excluded: Jagged, barred: Int64
    ) -> tuple[Int64, Float32, Float32, Float64]:
        """All eligible items that may be of a user's best ``fetch``, for all that rounding lets one say.

        users_BD: [B, D] float32. excluded: B rows of positions that the user must not get. barred: ascending positions
        that nobody gets, 0 among them. Returns positions [B, C] (0 pads), what their scores are at most [B, C] (-inf
        pads), in no promised order, what no other eligible item's score exceeds [B], and zeros [B], by how much it may.
        """
        users = torch.from_numpy(users_BD)
        bytes_BD, scale_B1 = _bytes(users)
        # a clone, since oneDNN misreads the strides that .contiguous() may leave where a dimension is 1
        users_DB = bytes_BD.to(torch.int8).T.clone(memory_format=torch.contiguous_format)
        products = torch._int_mm(self._items_ND, users_DB).unbind(dim=1)
        norm_B, rounded_B = _lengths(users), _lengths(users - bytes_BD * scale_B1)
        each_B = products, scale_B1[:, 0].tolist(), norm_B.tolist(), rounded_B.tolist()
        positions, scores, floors = [], [], []
        for user, (product_N, scale, norm, rounded) in enumerate(zip(*each_B, strict=True)):
            # with v and y the rounded u and x: |ux - vy| <= |u - v| |y| + |u| |x - y|, and |y| <= |x| + |x - y|
            share, tiny = (rounded + FLOAT32_ERROR * norm) / USUAL + rounded + norm, FLOAT32_TINY * (1 + norm)
            most = product_N.float().mul_(self._scale_N).mul_(scale)
            most_N = most.add_(self._error_N, alpha=share).add_(tiny).numpy()
            most_N[excluded[user]] = -np.inf
            most_N[barred] = -np.inf
            lowest = sampled_floor(most_N[None, :: self._stride].copy(), self._stride, fetch)[0]
            hit = np.flatnonzero(most_N > lowest)
            if len(hit) < fetch:  # the sample misleads
                hit, lowest = np.flatnonzero(most_N > -np.inf), np.float32(-np.inf)
            if len(hit) > fetch:
                error = share * self._error_N.numpy()[hit] + tiny
                least = np.partition(most_N[hit] - 2 * error, -fetch)[-fetch]
                lowest = np.nextafter(least, np.float32(-np.inf))
                hit = np.flatnonzero(most_N > lowest)
            positions.append(hit)
            scores.append(most_N[hit])
            floors.append(lowest)
        near = Jagged.from_rows(scores, np.float32).padded(-np.inf)
        return Jagged.from_rows(positions, np.int64).padded(), near, np.array(floors, np.float32), np.zeros(len(users))

    def _round(self, rows: slice, exact: Tensor) -> None:
        whole, scale = _bytes(exact)
        self._items_ND[rows], self._scale_N[rows] = whole.to(torch.int8), scale.ravel()
        # no less than the usual share, so that it bounds the norm, too: one number an item to be read
        self._error_N[rows] = torch.maximum(_lengths(exact - whole * scale), USUAL * _lengths(exact)).float()


def _bytes(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Whole numbers [n, D] of at most LARGEST, as float32, and what each row of them [n, 1] is to be multiplied by."""
    scale = (vectors.abs().amax(dim=1, keepdim=True) / LARGEST).clamp(min=FLOAT32_TINY)
    return (vectors / scale).round_().clamp_(-LARGEST, LARGEST), scale


def _lengths(vectors: Tensor) -> Tensor:
    """[n] float64."""
    return torch.from_numpy(norms(vectors.numpy()))
