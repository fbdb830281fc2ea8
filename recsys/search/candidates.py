"""The interface of a candidate source: which items could be among a user's best, before exact scores decide.

The sources are in exact_batch.py, exact_request.py and faiss_index.py. When their candidates are not enough, the whole
catalogue is the source.

Legend: B users, N items, D dimensions, C candidates, S sampled items. Position 0 is padding.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import polars as pl

from ..data import Int64, Jagged
from .vectors import Bool, Float32, Float64

SAMPLE_ITEMS = 4096  # whose scores say which score about `fetch` items of the catalogue exceed


class Eligibility:
    """Which items each user of a batch may get.

    Args:
        num_items: N.
        num_users: of the batch.
        excluded: a row of positions per user, which that user must not get; zeros and duplicates are fine.
        allowed: [N + 1], what anyone may get; None: everything.
    """

    def __init__(self, num_items: int, num_users: int, excluded: Jagged | None, allowed: Bool | None) -> None:
        self._stride = num_items + 1
        self._allowed = allowed
        nothing = Jagged(np.empty(0, np.int32), np.zeros(num_users + 1, np.int64))
        self._excluded = nothing if excluded is None else excluded

    def of(self, user_B: Int64) -> "BlockEligibility":
        """The same for some of the users, by their rows in the batch."""
        return BlockEligibility(self, user_B)

    @cached_property
    def barred(self) -> Int64:
        """The positions that nobody may get, ascending: 0, and what is not allowed."""
        not_allowed = np.empty(0, np.int64) if self._allowed is None else 1 + np.flatnonzero(~self._allowed[1:])
        return np.concatenate(([0], not_allowed))

    @cached_property
    def _keys(self) -> Int64:
        """The exclusions as one sorted array of distinct keys ``user * (N + 1) + position``."""
        values = self._excluded.values.astype(np.int64)
        keys = (self._excluded.row_of_value * self._stride + values)[values > 0]
        single = len(self._excluded) == 1  # need not wait for Polars' threads
        keys = np.sort(keys) if single else pl.Series(keys).sort().to_numpy()
        return keys[np.diff(keys, prepend=-1) > 0]

    @property
    def num_excluded(self) -> Int64:
        """Distinct excluded items of each user, [B]."""
        return np.bincount(self._keys // self._stride, minlength=len(self._excluded))

    def excluded(self, user_B: Int64) -> Jagged:
        """The excluded positions of these users, as they were given."""
        return self._excluded.take(user_B)

    def mask(self, user_B: Int64, positions_BC: Int64) -> Bool:
        """Whether each user may get each of the positions in their row, [B, C]."""
        eligible_BC = positions_BC > 0
        if self._allowed is not None:
            eligible_BC &= self._allowed[positions_BC]
        if len(self._keys):
            keys_BC = user_B[:, None] * self._stride + positions_BC
            nearest_BC = np.minimum(np.searchsorted(self._keys, keys_BC), len(self._keys) - 1)
            eligible_BC &= self._keys[nearest_BC] != keys_BC
        return eligible_BC


@dataclass(frozen=True)
class BlockEligibility:
    """Which items each user of a block may get. users: [B] their rows in the batch."""

    batch: Eligibility
    users: Int64

    @property
    def excluded(self) -> Jagged:
        """A row of excluded positions per user of the block."""
        return self.batch.excluded(self.users)

    @property
    def barred(self) -> Int64:
        """The positions that nobody may get, ascending, 0 among them."""
        return self.batch.barred

    def mask(self, positions_BC: Int64) -> Bool:
        """Whether each user may get each of the positions in their row, [B, C]."""
        return self.batch.mask(self.users, positions_BC)


@dataclass(frozen=True)
class Candidates:
    """Eligible items of each user of a block, and how much is known about the rest.

    positions: [B, C] int64, in no particular order; 0 is padding.
    scores: [B, C] float32, approximate, -inf for padding; None if all candidates are to be scored.
    floor: [B] float32, an approximate score that no other eligible item exceeds.
    error: [B] float64, by how much an approximate score can be off.
    """

    positions: Int64
    scores: Float32 | None
    floor: Float32
    error: Float64

    def possible_top(self, k: int) -> Int64:
        """The positions [B, C] that could be among the ``k`` best, given how far approximate scores can be off."""
        if self.scores is None:
            return self.positions
        kth_B = -np.partition(-self.scores, k - 1, axis=1)[:, k - 1]
        possible_BC = self.scores >= (kth_B - 2 * self.error)[:, None]
        possible_BC &= self.positions > 0
        return Jagged.from_lengths(self.positions[possible_BC], possible_BC.sum(axis=1)).padded(least=k)


class CandidateSource(Protocol):
    """What proposes candidates."""

    @property
    def leaves_out(self) -> bool:
        """Whether ineligible items take no place among the ``fetch`` candidates."""

    @property
    def parallel(self) -> bool:
        """Whether the blocks of a batch should run on several threads."""

    @property
    def max_users(self) -> int | None:
        """The most users in a block; None: any number."""

    def candidates(self, users_BD: Float32, fetch: int, eligible: BlockEligibility) -> Candidates:
        """About ``fetch`` candidates for each user, or more."""


class WholeCatalogue:
    """Every eligible item is a candidate."""

    leaves_out, parallel, max_users = True, False, None

    def candidates(self, users_BD: Float32, fetch: int, eligible: BlockEligibility) -> Candidates:
        """All eligible items. fetch: the number of items in the catalogue."""
        everything_BC = np.broadcast_to(np.arange(1, fetch + 1), (len(users_BD), fetch))
        positions_BC = np.where(eligible.mask(everything_BC), everything_BC, 0)
        return Candidates(positions_BC, None, np.full(len(users_BD), -np.inf, np.float32), np.zeros(len(users_BD)))


def sample_stride(num_rows: int) -> int:
    """The distance between sampled rows of the catalogue."""
    return max(2, num_rows // SAMPLE_ITEMS)


def sampled_floor(sampled_BS: npt.NDArray[Any], stride: int, fetch: int) -> npt.NDArray[Any]:
    """A score [B] that more than ``fetch`` items of the catalogue should reach, by three standard deviations.

    Args:
        sampled_BS: scores of every ``stride``-th item, which are reordered. They mislead if the scores depend on the
            order of the catalogue.
        stride: as in ``sample_stride``.
        fetch: how many items are wanted.
    """
    expected = fetch / stride
    rank = max(0, sampled_BS.shape[1] - math.ceil(expected + 3 * math.sqrt(expected) + 1))
    sampled_BS.partition(rank, axis=1)
    return sampled_BS[:, rank].copy()
