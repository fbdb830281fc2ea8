"""Exact candidates for many users at once, in less time than their float32 scores take to compute.

Where the CPU has a matrix unit for bfloat16, scores come from rounded vectors: whoever rounding may have cost a place
is a candidate, too, and float64 decides (rescoring.py). A sample of the catalogue tells which score about F items
exceed. Scores are never all held: of a tile of them only blocks whose maximum exceeds that score are looked at again.
Scores are compared as integers of the same order. No order of the catalogue can make an answer wrong, only slow.
Tiles are large since threads, in Python, wait for each other between any two operations.

Legend: B users, N items, S sampled items, D dimensions, F wanted candidates, T items of a tile, C candidates, P blocks.
"""

import math
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..data import Int64, Jagged
from .rescoring import FLOAT32_ERROR, FLOAT32_TINY, Float32, Float64, monotone, norms
from .threads import spread

TILE_USERS, TILE_BYTES = 512, 2**22
BLOCK = 8  # scores that share a maximum; a power of two
SAMPLE_ITEMS = 4096
MOST = 16  # times F: a user whose sample misleads that much (an odd order, ties) is given none, to bound the memory
BFLOAT16_ERROR = 2.0**-8  # at most, of a number that is rounded to 8 bits
ROWS_AT_ONCE = 2**14  # of the catalogue, while it is rounded

Result = TypeVar("Result")
Keys = npt.NDArray[Any]  # scores, or int16 or int32, as wide, of the same order


class Tiles:
    """A catalogue matrix [N + 1, D] float32, whose row 0 is nobody's answer, ready to be multiplied.

    max_norm: of its rows.
    """

    def __init__(self, vectors_ND: Float32, max_norm: float) -> None:
        items_ND = torch.from_numpy(vectors_ND)
        self._max_norm = max_norm
        self._items_ND, self._max_rounded = items_ND, 0.0
        if multiplies("amx_bf16"):  # AVX-512's own bfloat16 gains nothing
            self._items_ND = torch.empty_like(items_ND, dtype=torch.bfloat16)
            self._max_rounded = max(by_parts(self._round, items_ND))
        self._stride = max(2, len(vectors_ND) // SAMPLE_ITEMS)
        self._sample_SD = self._items_ND[:: self._stride].contiguous()
        self._lowest = monotone(_bits(self._items_ND.new_full((1,), -math.inf)))[0]

    def exceeding(
        self, users_BD: Float32, fetch: int, *, excluded: Jagged, barred: Int64
    ) -> tuple[Int64, Float32, Float32, Float64]:
        """All eligible items above a score that about ``fetch`` to thrice as many exceed; others where it misleads.

        users_BD: [B, D] float32, at most TILE_USERS of them. excluded: B rows of positions that the user must not get.
        barred: ascending positions that nobody gets, 0 among them. Returns positions [B, C] (0 pads), scores [B, C]
        (-inf pads), in no promised order, that score [B], and what a score may be off by [B].
        """
        num_users = len(users_BD)
        error_B = self._errors(torch.from_numpy(users_BD))
        users_DB = torch.from_numpy(users_BD).to(self._items_ND.dtype).T
        floor_B = sampled_floor(self._sampled(users_DB, excluded, barred), self._stride, fetch)
        size = TILE_BYTES // (num_users * self._items_ND.element_size())
        size = BLOCK * max(1, min(size // BLOCK, -(-len(self._items_ND) // BLOCK)))
        maxima_TB = np.empty((size // 2, num_users), floor_B.dtype)
        across = size // BLOCK * np.arange(BLOCK)
        found, keys, num_found = [], [], 0
        for start, keys_TB in self._tiles(users_DB, size, excluded, barred, signed=floor_B.min() < 0):
            block = np.flatnonzero(_block_maxima(keys_TB, maxima_TB) > floor_B)
            keys.append(keys_TB.ravel().take(block[:, None] + across * num_users))
            found.append(start * num_users + block)
            num_found += len(block)
            if num_found > MOST * fetch * num_users:
                nobody = np.empty((num_users, 0), np.int64), np.empty((num_users, 0), np.float32)
                return *nobody, self._scores(floor_B), error_B
        first_P, user_P = np.divmod(np.concatenate(found), num_users)
        keys_P = np.concatenate(keys)
        hit = np.flatnonzero(keys_P > floor_B[user_P][:, None])
        block, place = np.divmod(hit, BLOCK)
        scores = self._scores(keys_P.ravel()[hit])
        candidates = _by_user(user_P[block], first_P[block] + across[place], scores, num_users, MOST * fetch)
        return *candidates, self._scores(floor_B), error_B

    def _tiles(
        self, users_DB: Tensor, size: int, excluded: Jagged, barred: Int64, *, signed: bool
    ) -> Iterator[tuple[int, Keys]]:
        """First position and keys [T, B] of each tile, the lowest for what must not be found; one array for them all.

        signed: whether scores below zero need an order, too.
        """
        tile_TB = users_DB.new_empty(size, users_DB.shape[1])
        keys_TB = _bits(tile_TB)
        order = np.argsort(excluded.values, kind="stable")
        struck, owner = excluded.values[order].astype(np.int64), excluded.row_of_value[order]
        starts = np.arange(0, len(self._items_ND) + size, size)
        cuts = (pairwise(places.searchsorted(starts)) for places in (struck, barred))
        for start, struck_here, barred_here in zip(starts[:-1].tolist(), *cuts, strict=True):
            part_TD = self._items_ND[start : start + size]
            torch.mm(part_TD, users_DB, out=tile_TB[: len(part_TD)])
            if signed:
                np.copyto(keys_TB, monotone(keys_TB))
            keys_TB[len(part_TD) :] = self._lowest
            keys_TB[struck[slice(*struck_here)] - start, owner[slice(*struck_here)]] = self._lowest
            keys_TB[barred[slice(*barred_here)] - start] = self._lowest
            yield start, keys_TB

    def _sampled(self, users_DB: Tensor, excluded: Jagged, barred: Int64) -> Keys:
        """[B, S] keys of every stride-th item."""
        keys_BS = monotone(_bits(users_DB.T @ self._sample_SD.T))
        sampled = excluded.values % self._stride == 0
        keys_BS[excluded.row_of_value[sampled], excluded.values[sampled] // self._stride] = self._lowest
        keys_BS[:, barred[barred % self._stride == 0] // self._stride] = self._lowest
        return keys_BS

    def _errors(self, users_BD: Tensor) -> Float64:
        """[B]: what rounding user, item and their product takes from a score at most, and what is too small to hold."""
        rounded_B, norm_B = (norms(x.numpy()) for x in (users_BD - users_BD.to(self._items_ND.dtype), users_BD))
        product = FLOAT32_ERROR + (BFLOAT16_ERROR if self._items_ND.dtype == torch.bfloat16 else 0)
        errors_B = self._max_norm * (rounded_B + product * norm_B) + self._max_rounded * norm_B
        dim = users_BD.shape[1]  # a matrix unit may take tiny numbers and products for 0
        tiny_B = FLOAT32_TINY * (dim + math.sqrt(dim) * (norm_B + self._max_norm))
        errors: Float64 = errors_B + tiny_B
        return errors

    def _scores(self, keys: Keys) -> Float32:
        """What the keys stand for."""
        scores: Float32 = torch.from_numpy(monotone(keys)).view(self._items_ND.dtype).float().numpy()
        return scores

    def _round(self, rows: slice, exact_TD: Tensor) -> float:
        self._items_ND[rows] = exact_TD
        return float(norms((exact_TD - self._items_ND[rows]).numpy()).max())


def multiplies(unit: str) -> bool:
    """Whether this CPU has it, as torch names it; a torch that cannot tell has none."""
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get(unit, False))


def by_parts(work: Callable[[slice, Tensor], Result], items_ND: Tensor) -> list[Result]:
    """What ``work`` returns for some rows of the catalogue at a time, which is too large for another of its size."""
    parts = [slice(start, start + ROWS_AT_ONCE) for start in range(0, len(items_ND), ROWS_AT_ONCE)]
    return spread([partial(work, part, items_ND[part]) for part in parts])


def sampled_floor(sampled_BS: Keys, stride: int, fetch: int) -> Keys:
    """[B]: a key that more than ``fetch`` items should reach, by three standard deviations, judging by every stride-th
    item's, which are lost; in an odd order of the catalogue they mislead.
    """
    expected = fetch / stride
    place = max(0, sampled_BS.shape[1] - math.ceil(expected + 3 * math.sqrt(expected) + 1))
    sampled_BS.partition(place, axis=1)
    return sampled_BS[:, place].copy()


def _bits(scores: Tensor) -> Keys:
    """A view as integers of the same width, which NumPy knows."""
    bits: Keys = scores.view({2: torch.int16, 4: torch.int32}[scores.element_size()]).numpy()
    return bits


def _block_maxima(keys_TB: Keys, scratch_TB: Keys) -> Keys:
    """[T / BLOCK, B]: each with what stands 1 / BLOCK, 2 / BLOCK, ... of the tile below it. scratch_TB: [T / 2, B]."""
    half = len(scratch_TB)
    np.maximum(keys_TB[:half], keys_TB[half:], out=scratch_TB)
    while half > len(keys_TB) // BLOCK:
        half //= 2
        np.maximum(scratch_TB[:half], scratch_TB[half : 2 * half], out=scratch_TB[:half])
    return scratch_TB[:half]


def _by_user(user: Int64, position: Int64, scores: Float32, num_users: int, most: int) -> tuple[Int64, Float32]:
    """Positions and scores [B, C], each user's in their order; none for a user of more than ``most``."""
    lengths = np.bincount(user, minlength=num_users)
    order = np.argsort(user.astype(np.uint16), kind="stable")
    order = order[lengths[user[order]] <= most]
    lengths[lengths > most] = 0
    positions = Jagged.from_lengths(position[order], lengths)
    return positions.padded(), Jagged(scores[order], positions.offsets).padded(-np.inf)
