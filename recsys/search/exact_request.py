"""Exact candidates for a few users, in the time it takes to read one byte for each number of the catalogue.

Vectors are rounded to 8 bits, each with a scale of its own, and multiplied as integers. The rounding errors of the user
and of the item bound a score from above and below. Every item that could be in the user's top ``fetch`` within these
bounds is a candidate, and float64 decides (rescoring.py). For many users the products cost more than the reading: see
exact_batch.py.

Legend: B users, N items, D dimensions, C candidates.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..data import Jagged
from ..errors import InputError
from .candidates import BlockEligibility, Candidates, sample_stride, sampled_floor
from .rescoring import FLOAT32_ERROR, FLOAT32_TINY
from .rounding import LARGEST, by_parts, largest_factor, lengths, rounded_up, row_scales, whole_numbers
from .vectors import Float32

USUAL = 1 / 160  # the share of its length that rounding takes from a vector of 64 or 128 numbers


@dataclass(frozen=True)
class _UpperBounds:
    """One user's scores: item n's is at most ``most[n]``, and at least ``most[n] - 2 * (share * error_N[n] + tiny)``.

    most: [N + 1] float32, -inf for an ineligible item.
    """

    most: Float32
    share: float
    tiny: float


@dataclass(frozen=True)
class _UserCandidates:
    """One user's candidates. floor: no other eligible item's score exceeds it."""

    positions: npt.NDArray[np.int64]
    most: Float32
    floor: Any


class QuantizedCatalogue:
    """A catalogue whose vectors are rounded to 8-bit integers, each with a scale and an error.

    Args:
        vectors_ND: [N + 1, D] float32; row 0 is nobody's.
        compact: take 4 bytes for an item's scale and error, and not 8, which are read a little faster.
        codes: what ``codes`` was for the same vectors; None: compute it.

    Raises:
        InputError: the codes are of other vectors.
    """

    leaves_out, parallel, max_users = True, False, None

    def __init__(
        self, vectors_ND: Float32, *, compact: bool = False, codes: npt.NDArray[np.int8] | None = None
    ) -> None:
        items_ND = torch.from_numpy(vectors_ND)
        self.vectors_ND = vectors_ND
        self.codes = np.empty(vectors_ND.shape, np.int8) if codes is None else codes
        self._items_ND = torch.from_numpy(self.codes)
        self._scale_N, self._error_N = torch.empty(2, len(items_ND), dtype=torch.bfloat16 if compact else torch.float32)
        if not all(by_parts(self._round if codes is None else self._check, items_ND)):
            raise InputError("it is no index of these item vectors: its vectors are others")
        self._stride = sample_stride(len(vectors_ND))

    @staticmethod
    def pays(dim: int, *, has_codes: bool = False) -> bool:
        """Whether this CPU is faster with codes of ``dim`` numbers than with floats.

        So it is if it adds products of bytes in 32 bits. Where it adds pairs of them in 16 bits, which limits the
        numbers of users, codes are worth it only if they are there anyway.
        """
        return largest_factor(dim) >= (1 if has_codes else LARGEST)

    def approximate(self, rows: slice) -> Tensor:
        """The vectors of some rows, as far as the codes tell."""
        vectors_ND: Tensor = self._items_ND[rows].float() * self._scale_N[rows, None]
        return vectors_ND

    @property
    def num_bytes(self) -> int:
        """The memory that it takes."""
        return int(self.codes.nbytes + self._scale_N.nbytes + self._error_N.nbytes)

    def candidates(self, users_BD: Float32, fetch: int, eligible: BlockEligibility) -> Candidates:
        """Every eligible item that could be in the user's top ``fetch``, given rounding error.

        The approximate scores are upper bounds, so a true score never exceeds them: the error is 0.

        Why the bounds hold: with v and y the rounded u and x, |ux - vy| <= |u - v| |y| + |u| |x - y|, and
        |y| <= |x| + |x - y|. An item's stored error e is at least |x - y| and at least USUAL |x|. So
        |ux - vy| <= e (|u - v| / USUAL + |u - v| + |u|); float32 arithmetic adds a share of |u| |x| <= |u| e / USUAL.
        """
        users = torch.from_numpy(users_BD)
        largest = largest_factor(users_BD.shape[1])
        scale_B1 = row_scales(users, largest)
        bytes_BD = whole_numbers(users, scale_B1, largest)
        # a clone, since oneDNN misreads the strides that .contiguous() may leave where a dimension is 1
        users_DB = bytes_BD.to(torch.int8).T.clone(memory_format=torch.contiguous_format)
        products = torch._int_mm(self._items_ND, users_DB).unbind(dim=1)
        scales, length_B = scale_B1[:, 0].tolist(), lengths(users).tolist()
        rounding = lengths(users - bytes_BD * scale_B1).tolist()
        barred, excluded = eligible.barred, eligible.excluded
        chosen = []
        for user, product_N in enumerate(products):
            bounds = self._bounds(product_N, scales[user], length_B[user], rounding[user])
            bounds.most[excluded[user]] = -np.inf
            bounds.most[barred] = -np.inf
            chosen.append(self._possible_top(bounds, fetch))
        return Candidates(
            Jagged.from_rows([candidates.positions for candidates in chosen], np.int64).padded(),
            Jagged.from_rows([candidates.most for candidates in chosen], np.float32).padded(-np.inf),
            np.array([candidates.floor for candidates in chosen], np.float32),
            np.zeros(len(users)),
        )

    def _bounds(self, product_N: Tensor, scale: float, length: float, rounding: float) -> _UpperBounds:
        """One user's bounds from the integer products. length: |u|. rounding: |u - v|."""
        share = (rounding + FLOAT32_ERROR * length) / USUAL + rounding + length
        tiny = FLOAT32_TINY * (1 + length)
        most_N = product_N.float().mul_(self._scale_N).mul_(scale)
        return _UpperBounds(most_N.add_(self._error_N, alpha=share).add_(tiny).numpy(), share, tiny)

    def _possible_top(self, bounds: _UpperBounds, fetch: int) -> _UserCandidates:
        """The items that could be among the ``fetch`` best.

        ``fetch`` items have a score of at least the ``fetch``-th largest lower bound, so an item whose upper bound is
        smaller is not one of the best. Only items whose upper bound exceeds a sampled floor are looked at; if these are
        fewer than ``fetch``, the sample misled, and all eligible items are.
        """
        most_N = bounds.most
        floor = sampled_floor(most_N[None, :: self._stride].copy(), self._stride, fetch)[0]
        hits = np.flatnonzero(most_N > floor)
        if len(hits) < fetch:
            hits, floor = np.flatnonzero(most_N > -np.inf), np.float32(-np.inf)
        if len(hits) > fetch:
            error = bounds.share * self._error_N[hits].float().numpy() + bounds.tiny
            least = np.partition(most_N[hits] - 2 * error, -fetch)[-fetch]
            floor = np.nextafter(least, np.float32(-np.inf))
            hits = np.flatnonzero(most_N > floor)
        return _UserCandidates(hits, most_N[hits], floor)

    def _round(self, rows: slice, exact: Tensor) -> bool:
        """Round some rows of the catalogue."""
        self._items_ND[rows] = self._rounded(rows, exact)
        return True

    def _check(self, rows: slice, exact: Tensor) -> bool:
        """Whether some rows of the catalogue were rounded to what is there already."""
        return torch.equal(self._items_ND[rows], self._rounded(rows, exact))

    def _rounded(self, rows: slice, exact: Tensor) -> Tensor:
        """Some rows as whole numbers; keeps their scales and errors."""
        scale = rounded_up(row_scales(exact), self._scale_N.dtype)
        whole = whole_numbers(exact, scale)
        # at least the usual share, so that one number per item bounds both rounding and length
        error = torch.maximum(lengths(exact - whole * scale), USUAL * lengths(exact)).float()
        self._scale_N[rows], self._error_N[rows] = scale.ravel(), rounded_up(error, self._error_N.dtype)
        return whole.to(torch.int8)
