"""Exact candidates for many users at once, in less time than computing their float32 scores takes.

Scores come from vectors that are rounded to what the CPU multiplies fastest (rounding.py): bfloat16 where it has a
matrix unit, else bytes. All items have the same scale, so that a user's products with bytes, whole numbers, can be
compared as they are. Every item that rounding could have cost its rank is a candidate too, and float64 decides
(rescoring.py). A sample of the catalogue gives a score that about ``fetch`` items exceed, the floor. Scores are
computed tile by tile, and only those blocks of a tile are looked at again whose maximum exceeds the floor. Scores are
compared as *keys*: integers of the same width and order. The order of the catalogue can make a
search slow, never wrong. Tiles are large because, in Python, threads wait for each other between any two operations.

Legend: B users, N items, S sampled items, D dimensions, T items of a tile, C candidates, P blocks above the floor.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..data import Int64, Jagged
from .candidates import BlockEligibility, Candidates, sample_stride, sampled_floor
from .exact_request import QuantizedCatalogue
from .rescoring import FLOAT32_ERROR, FLOAT32_TINY, order_preserving
from .rounding import by_parts, dtype_for_many, largest_factor, row_scales, whole_numbers
from .vectors import Float32, Float64, norms

TILE_USERS, TILE_BYTES = 512, 2**22
BLOCK = 8  # scores that share a maximum; a power of two
MOST = 16  # times `fetch`: a user with more candidates gets none, which bounds memory where the sample misleads
BFLOAT16_ERROR = 2.0**-8  # the largest relative error of rounding a number to 8 bits
PRODUCTS = {torch.float32: torch.float32, torch.bfloat16: torch.bfloat16, torch.int8: torch.int32}  # and their dtypes

Keys = npt.NDArray[Any]  # int16 or int32


@dataclass(frozen=True)
class _Blocks:
    """The blocks of scores whose maximum exceeds their user's floor.

    users: [P]. firsts: [P] position of each block's first item. spacing: [BLOCK] distances of a block's items from its
    first. keys: [P, BLOCK] the scores.
    """

    users: Int64
    firsts: Int64
    spacing: Int64
    keys: Keys


@dataclass(frozen=True)
class _Users:
    """A block of users as factors of rounded items.

    vectors: [D, B] rounded. scale: [B] by what a product is multiplied to be a score. error: [B] by how much a score
    can then be off.
    """

    vectors: Tensor
    scale: Float32
    error: Float64


class TiledCatalogue:
    """A catalogue that is multiplied by many users at once, tile by tile.

    Args:
        vectors_ND: [N + 1, D] float32; row 0 is nobody's answer.
        max_norm: the length of the longest row.
        codes: the same vectors as bytes of another scale, from which tiles are rounded then, so that no rounded copy is
            kept; or None.
    """

    leaves_out, parallel, max_users = True, True, TILE_USERS

    def __init__(self, vectors_ND: Float32, max_norm: float, codes: QuantizedCatalogue | None = None) -> None:
        items_ND, dim = torch.from_numpy(vectors_ND), vectors_ND.shape[1]
        self._max_norm, self._codes = max_norm, codes
        self._dtype = dtype_for_many(dim)
        if codes is not None:
            self._dtype = torch.int8 if largest_factor(dim) else torch.float32
        largest = max(vectors_ND.max(), -vectors_ND.min())
        self._scale = row_scales(torch.tensor([[largest]])) if self._dtype == torch.int8 else torch.ones(1, 1)
        self._items_ND, self._max_rounding = items_ND, 0.0
        if self._dtype != torch.float32:
            if codes is None:
                self._items_ND = torch.empty_like(items_ND, dtype=self._dtype)
            self._max_rounding = max(by_parts(self._round, items_ND))
        self._stride = sample_stride(len(vectors_ND))
        self._sample_SD = self._rows(slice(None, None, self._stride)).contiguous()
        lowest = np.iinfo(np.int32).min if self._dtype == torch.int8 else -math.inf
        self._lowest = self._ordered(_bits(torch.tensor([lowest], dtype=PRODUCTS[self._dtype])))[0]

    def candidates(self, users_BD: Float32, fetch: int, eligible: BlockEligibility) -> Candidates:
        """Every eligible item whose score exceeds the floor; none for a user whose sample misleads.

        The floor is chosen so that one to three times ``fetch`` items exceed it.

        Args:
            users_BD: float32, at most TILE_USERS of them.
            fetch: the number of candidates wanted per user.
            eligible: which items each user may get.
        """
        num_users, most = len(users_BD), MOST * fetch
        users = self._rounded(torch.from_numpy(users_BD))
        floor_B = sampled_floor(self._sampled_keys(users.vectors, eligible), self._stride, fetch)
        blocks = self._blocks_above(floor_B, users.vectors, eligible, most * num_users)
        if blocks is None:
            positions_BC, scores_BC = np.empty((num_users, 0), np.int64), np.empty((num_users, 0), np.float32)
        else:
            hits = np.flatnonzero(blocks.keys > floor_B[blocks.users][:, None])
            block, place = np.divmod(hits, BLOCK)
            positions = blocks.firsts[block] + blocks.spacing[place]
            scores = self._scores(blocks.keys.ravel()[hits]) * users.scale[blocks.users[block]]
            positions_BC, scores_BC = _by_user(blocks.users[block], positions, scores, num_users, most)
        return Candidates(positions_BC, scores_BC, self._scores(floor_B) * users.scale, users.error)

    def _blocks_above(self, floor_B: Keys, users_DB: Tensor, eligible: BlockEligibility, limit: int) -> _Blocks | None:
        """The blocks with a score above the floor; None if there are more than ``limit``."""
        num_users = len(floor_B)
        size = TILE_BYTES // (num_users * floor_B.itemsize)
        size = BLOCK * max(1, min(size // BLOCK, -(-len(self._items_ND) // BLOCK)))
        maxima_TB = np.empty((size // 2, num_users), floor_B.dtype)
        spacing = size // BLOCK * np.arange(BLOCK)
        firsts, keys, num_blocks = [], [], 0
        for start, keys_TB in self._tiles(users_DB, size, eligible, signed=floor_B.min() < 0):
            block = np.flatnonzero(_block_maxima(keys_TB, maxima_TB) > floor_B)
            keys.append(keys_TB.ravel().take(block[:, None] + spacing * num_users))
            firsts.append(start * num_users + block)
            num_blocks += len(block)
            if num_blocks > limit:
                return None
        first_P, user_P = np.divmod(np.concatenate(firsts), num_users)
        return _Blocks(user_P, first_P, spacing, np.concatenate(keys))

    def _tiles(
        self, users_DB: Tensor, size: int, eligible: BlockEligibility, *, signed: bool
    ) -> Iterator[tuple[int, Keys]]:
        """The first position and the keys [T, B] of each tile, with the lowest key for ineligible items.

        All tiles use the same array. signed: whether scores below zero must be ordered too.
        """
        tile_TB = torch.empty(size, users_DB.shape[1], dtype=PRODUCTS[self._dtype])
        keys_TB = _bits(tile_TB)
        barred, excluded = eligible.barred, eligible.excluded
        order = np.argsort(excluded.values, kind="stable")
        position, user = excluded.values[order].astype(np.int64), excluded.row_of_value[order]
        starts = np.arange(0, len(self._items_ND) + size, size)
        cuts = (pairwise(ineligible.searchsorted(starts)) for ineligible in (position, barred))
        for start, excluded_cut, barred_cut in zip(starts[:-1].tolist(), *cuts, strict=True):
            part_TD = self._rows(slice(start, start + size))
            self._multiply(part_TD, users_DB, out=tile_TB[: len(part_TD)])
            if signed:
                np.copyto(keys_TB, self._ordered(keys_TB))
            keys_TB[len(part_TD) :] = self._lowest
            keys_TB[position[slice(*excluded_cut)] - start, user[slice(*excluded_cut)]] = self._lowest
            keys_TB[barred[slice(*barred_cut)] - start] = self._lowest
            yield start, keys_TB

    def _sampled_keys(self, users_DB: Tensor, eligible: BlockEligibility) -> Keys:
        """The keys [B, S] of every stride-th item, with the lowest key for ineligible ones."""
        barred, excluded = eligible.barred, eligible.excluded
        keys_BS = self._ordered(_bits(self._multiply(self._sample_SD, users_DB).T.contiguous()))
        sampled = excluded.values % self._stride == 0
        keys_BS[excluded.row_of_value[sampled], excluded.values[sampled] // self._stride] = self._lowest
        keys_BS[:, barred[barred % self._stride == 0] // self._stride] = self._lowest
        return keys_BS

    def _rounded(self, users_BD: Tensor) -> _Users:
        """Users as factors of rounded items, and by how much their scores can be off.

        With v and y the rounded u and x, |ux - vy| <= |u - v| |x| + |u| |x - y| + |u - v| |x - y|. A share of |u| |x|
        is added for rounding the product, and something for underflow: a matrix unit may treat tiny numbers and
        products as 0.
        """
        num_users, dim = users_BD.shape
        if self._dtype == torch.int8:
            factor = largest_factor(dim)
            scale_B1 = row_scales(users_BD, factor)
            rounded_BD = whole_numbers(users_BD, scale_B1, factor)
        else:
            scale_B1, rounded_BD = torch.ones(num_users, 1), users_BD.to(self._dtype)
        rounding_B, norm_B = (norms(x.numpy()) for x in (users_BD - rounded_BD * scale_B1, users_BD))
        product = FLOAT32_ERROR + (BFLOAT16_ERROR if self._dtype == torch.bfloat16 else 0)
        error_B = (self._max_norm + self._max_rounding) * rounding_B
        error_B += (self._max_norm * product + self._max_rounding) * norm_B
        error_B += FLOAT32_TINY * (dim + math.sqrt(dim) * (norm_B + self._max_norm))
        vectors_DB = rounded_BD.to(self._dtype).T
        if self._dtype == torch.int8:  # a clone, since oneDNN misreads the strides that .contiguous() may leave
            vectors_DB = vectors_DB.clone(memory_format=torch.contiguous_format)
        return _Users(vectors_DB, (scale_B1 * self._scale)[:, 0].numpy(), error_B)

    def _multiply(self, items_TD: Tensor, users_DB: Tensor, out: Tensor | None = None) -> Tensor:
        """The products [T, B] of items and users."""
        product = torch._int_mm if self._dtype == torch.int8 else torch.mm
        return product(items_TD, users_DB) if out is None else product(items_TD, users_DB, out=out)

    def _ordered(self, bits: Keys) -> Keys:
        """Keys from the bits of scores. Whole numbers are their own."""
        return bits if self._dtype == torch.int8 else order_preserving(bits)

    def _scores(self, keys: Keys) -> Float32:
        """The products that the keys stand for."""
        bits = torch.from_numpy(self._ordered(keys))
        scores: Float32 = bits.view(PRODUCTS[self._dtype]).float().numpy()
        return scores

    def _rows(self, rows: slice) -> Tensor:
        """Some rounded rows of the catalogue."""
        if self._codes is None or self._dtype == torch.float32:
            return self._items_ND[rows]
        return whole_numbers(self._codes.approximate(rows), self._scale).to(torch.int8)

    def _round(self, rows: slice, exact_TD: Tensor) -> float:
        """Round some rows of the catalogue; returns the length of the largest difference."""
        if self._codes is None:
            self._items_ND[rows] = whole_numbers(exact_TD, self._scale) if self._dtype == torch.int8 else exact_TD
        return float(norms((exact_TD - self._rows(rows) * self._scale).numpy()).max())


def _bits(scores: Tensor) -> Keys:
    """A view of the scores as integers of the same width."""
    bits: Keys = scores.view({2: torch.int16, 4: torch.int32}[scores.element_size()]).numpy()
    return bits


def _block_maxima(keys_TB: Keys, scratch_TB: Keys) -> Keys:
    """The maximum of each block, [T / BLOCK, B]; its items are T / BLOCK rows apart. scratch_TB: [T / 2, B]."""
    half = len(scratch_TB)
    np.maximum(keys_TB[:half], keys_TB[half:], out=scratch_TB)
    while half > len(keys_TB) // BLOCK:
        half //= 2
        np.maximum(scratch_TB[:half], scratch_TB[half : 2 * half], out=scratch_TB[:half])
    return scratch_TB[:half]


def _by_user(user: Int64, positions: Int64, scores: Float32, num_users: int, most: int) -> tuple[Int64, Float32]:
    """Positions and scores [B, C] in their given order, padded; a user with more than ``most`` gets none."""
    lengths = np.bincount(user, minlength=num_users)
    order = np.argsort(user.astype(np.uint16), kind="stable")
    order = order[lengths[user[order]] <= most]
    lengths[lengths > most] = 0
    of_users = Jagged.from_lengths(positions[order], lengths)
    return of_users.padded(), Jagged(scores[order], of_users.offsets).padded(-np.inf)
