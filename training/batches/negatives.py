"""Where negatives come from, how often each item is expected among them, and which of them do not count.

All tokens of a step share one pool of negatives:

- ``loss.num_negatives`` items, drawn with probability proportional to their training events raised to the power
  ``loss.popularity_exponent`` (``NegativeSampler``; the loader draws them);
- with ``loss.in_batch``, also the step's own positives, which occur in proportion to their training events.

``NegativePool`` treats the two as one sample. From the logit of every negative, whatever its source, the loss
(training/loss/softmax.py) subtracts the logarithm of how often the pool is expected to hold that item. Only then does
the sampled gradient converge to that of the full softmax; with a separate correction for each source it does not.

For a token, a negative equal to its positive (an accidental hit) does not count, and with ``loss.mask_history`` neither
does an item of its user's history (``OwnItems``).

Shape suffixes: T tokens (positives), N negatives in the pool, D embedding_dim, C tokens of a chunk, U users.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from recsys.data import Int64, Jagged

USER = 1 << 32  # a user times this, plus an item, is a key that sorts by user, then item

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class NegativeSampler:
    """Draws items with probability proportional to count ** exponent; exponent 0 is uniform.

    log_share: [num_trained + 1] float64, the logarithm of each item's probability, -inf for row 0.
    cumulative: [num_trained + 1] float64, the cumulative probabilities.
    """

    log_share: Float64
    cumulative: Float64

    @staticmethod
    def from_counts(item_counts: Int64, exponent: float) -> "NegativeSampler":
        """item_counts: [num_trained + 1] int64 training events; the count of row 0 is ignored.

        What has none is never drawn: items that are placed by their texts alone would learn that they are never wanted.
        """
        weights = np.where(item_counts > 0, np.maximum(item_counts, 1).astype(np.float64) ** exponent, 0.0)
        weights[0] = 0.0
        share = weights / weights.sum()
        with np.errstate(divide="ignore"):
            return NegativeSampler(np.log(share), np.cumsum(share))

    def draw(self, generator: np.random.Generator, count: int) -> Int64:
        """[count] int64 rows from 1, with replacement."""
        numbers, rows = generator.random(count), np.empty(count, np.int64)
        ascending = np.argsort(numbers)  # neighbours are looked up where the cache holds them: twice as fast
        rows[ascending] = np.searchsorted(self.cumulative, numbers[ascending], side="right")
        last = int(np.searchsorted(self.cumulative, self.cumulative[-1]))  # of the rows with a share
        return np.minimum(rows, last)


@dataclass(frozen=True)
class NegativePool:
    """The pool of a step as one sample: drawn items, and the batch's positives if they take part.

    in_batch: the shares in which positives occur (``NegativeSampler`` with exponent 1), or None if only drawn items are
    negatives.
    """

    drawn: NegativeSampler
    in_batch: NegativeSampler | None

    def members(self, drawn_N: Int64, positives_T: npt.NDArray[np.integer]) -> Int64:
        """The rows of the whole pool, from its drawn items and the batch's positives."""
        return drawn_N if self.in_batch is None else np.concatenate([drawn_N, positives_T])

    def log_expected(self, num_drawn: int, num_positives: int, rows_N: Int64) -> npt.NDArray[np.float32]:
        """[N] float32: the logarithm of how often a pool is expected to hold the items ``rows_N``.

        Item j is expected num_drawn * q_j times, where q_j is its probability of being drawn, plus num_positives * p_j
        times, where p_j is its share of the training events.
        """
        expected = num_drawn * np.exp(self.drawn.log_share[rows_N])
        if self.in_batch is not None:
            expected = expected + num_positives * np.exp(self.in_batch.log_share[rows_N])
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(expected), np.float32)


@dataclass(frozen=True)
class Negatives:
    """The negatives of one step, as the loss needs them.

    ids: [N] int64 item rows. vectors: [K, N, D] float32, the members' own. log_expected: [N] float32, see
    ``NegativePool.log_expected``.
    """

    ids: Tensor
    vectors: Tensor
    log_expected: Tensor


@dataclass(frozen=True)
class OwnItems:
    """The items of every user's history. offsets: [num users + 1] int64. ids: item rows, sorted within each user."""

    offsets: Tensor
    ids: Tensor

    @staticmethod
    def from_histories(histories: Jagged, device: torch.device | None = None) -> "OwnItems":
        """Sort each history by item row."""
        keys = torch.from_numpy(histories.row_of_value) * USER + torch.from_numpy(histories.values).long()
        ids = keys.sort().values % USER
        return OwnItems(torch.from_numpy(histories.offsets).to(device), ids.to(device))

    def hold(self, users_C: Tensor, ids_N: Tensor) -> Tensor:
        """[C, N] bool: whether an id is among the items of a token's user."""
        if self.ids.device.type == "cpu":
            return self._hold_by_user(users_C, ids_N)
        if not len(self.ids):
            return torch.zeros(len(users_C), len(ids_N), dtype=torch.bool, device=self.ids.device)
        wanted_CN = users_C.unsqueeze(1) * USER + ids_N
        match_CN = torch.searchsorted(self._keys, wanted_CN).clamp_(max=len(self._keys) - 1)
        return self._keys[match_CN] == wanted_CN

    @cached_property
    def _keys(self) -> Tensor:
        """Users and their items as sorted numbers, for a device that would have to wait to know the distinct users."""
        users = torch.arange(len(self.offsets) - 1, device=self.ids.device)
        return torch.repeat_interleave(users, self.offsets.diff(), output_size=len(self.ids)) * USER + self.ids

    def _hold_by_user(self, users_C: Tensor, ids_N: Tensor) -> Tensor:
        """Reads the histories of the distinct users only, and looks each pair (user, id) up in one sorted list."""
        users_U, user_of_C = torch.unique(users_C, return_inverse=True)
        starts_U, lengths_U = self.offsets[users_U], self.offsets[users_U + 1] - self.offsets[users_U]
        shift_U = starts_U - lengths_U.cumsum(0) + lengths_U
        owner = torch.repeat_interleave(torch.arange(len(users_U), device=self.ids.device), lengths_U)
        own = self.ids[shift_U[owner] + torch.arange(len(owner), device=self.ids.device)]
        if not len(own):
            return torch.zeros(len(users_C), len(ids_N), dtype=torch.bool, device=self.ids.device)
        stride = torch.maximum(own.max(), ids_N.max()) + 1
        keys = owner * stride + own
        wanted_UN = torch.arange(len(users_U), device=self.ids.device).unsqueeze(1) * stride + ids_N
        match_UN = torch.searchsorted(keys, wanted_UN).clamp_(max=len(keys) - 1)
        return (keys[match_UN] == wanted_UN)[user_of_C]
