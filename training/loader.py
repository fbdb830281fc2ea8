"""Training batches from jagged histories: bucketed by length, cut to a number of tokens, reshuffled every epoch.

Shape suffixes: B users, L history length, T tokens that predict, N drawn negatives, M distinct items.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from recsys.data import Int64, Jagged
from recsys.model import FeatureTable, TrainBatch

from .negatives import NegativeSampler

WINDOW_BATCHES = 32  # users are sorted by length within a shuffled window of about this many batches


@dataclass(frozen=True)
class Step:
    """A batch for the model and, as indices into its distinct items, what the loss compares.

    labels: [T] int64. negatives: [N] int64. own: [T] int64 the user (row of the histories) of each token.
    """

    batch: TrainBatch
    labels: Tensor
    negatives: Tensor
    own: Tensor

    def to(self, device: torch.device) -> "Step":
        """On another device."""
        batch = TrainBatch(**{name: value.to(device) for name, value in vars(self.batch).items()})
        return Step(batch, self.labels.to(device), self.negatives.to(device), self.own.to(device))


@dataclass(frozen=True)
class Loader:
    """Serves the batches of an epoch; every epoch is a function of (seed, epoch) alone.

    histories: training histories, each of 2 places at least. user_rows: [num histories] the users' metadata rows.
    causal: a place predicts the next one; else (pooling) each place predicts itself from the others.
    piece: an epoch deals every unordered history into random pieces of so many places, or less than twice as many, each
    a history of its own, so that a user comes up in several batches; None leaves it whole.
    owners: [num histories] the row of the whole history that a piece was cut from.
    rank, world_size: this process takes every world_size-th batch; all take equally many.
    """

    histories: Jagged
    user_rows: Int64
    item_features: FeatureTable
    user_features: FeatureTable
    sampler: NegativeSampler
    num_negatives: int
    batch_tokens: int
    max_history: int
    causal: bool
    seed: int
    piece: int | None = None
    owners: Int64 | None = None
    rank: int = 0
    world_size: int = 1

    def epoch(self, number: int) -> "Epoch":
        """The steps of one epoch."""
        generator = np.random.default_rng((self.seed, number))
        dealt = self if self.piece is None else self._dealt(self.piece, generator)
        return Epoch(dealt, number, dealt._plan(generator))

    @property
    def lengths(self) -> Int64:
        """[num histories] input places of each history, once cut to max_history."""
        return np.minimum(self.histories.lengths - self.causal, self.max_history)

    def _dealt(self, piece: int, generator: np.random.Generator) -> "Loader":
        whole = self.histories
        order = np.lexsort((generator.random(len(whole.values)), whole.row_of_value))
        num_pieces = np.maximum(1, whole.lengths // piece)
        owners = np.repeat(np.arange(len(whole)), num_pieces)
        number = np.arange(len(owners)) - np.repeat(np.cumsum(num_pieces) - num_pieces, num_pieces)
        lengths = whole.lengths[owners] // num_pieces[owners] + (number < (whole.lengths % num_pieces)[owners])
        pieces = Jagged.from_lengths(whole.values[order], lengths)
        return replace(self, histories=pieces, user_rows=self.user_rows[owners], owners=owners)

    def _plan(self, generator: np.random.Generator) -> list[Int64]:
        """Users of each batch: shuffled, sorted by length within windows, cut so that B * L <= batch_tokens."""
        users = generator.permutation(len(self.histories))
        lengths = self.lengths[users]
        window = np.cumsum(lengths) // (WINDOW_BATCHES * self.batch_tokens)
        users = users[np.lexsort((-lengths, window))]
        lengths, starts, start = self.lengths[users], [], 0
        window = np.sort(window)
        while start < len(users):
            starts.append(start)
            end = np.searchsorted(window, window[start], side="right")
            start = int(min(start + max(1, self.batch_tokens // int(lengths[start])), end))
        batches = np.split(users, starts[1:])
        while len(batches) % self.world_size and max(map(len, batches)) > 1:  # as many for every rank, nobody left out
            largest = max(range(len(batches)), key=lambda place: len(batches[place]))
            batches[largest : largest + 1] = np.array_split(batches[largest], 2)
        return [batches[place] for place in generator.permutation(len(batches))]

    def _assemble(self, users: Int64, generator: np.random.Generator) -> Step:
        lengths = self.lengths[users]
        ends = self.histories.offsets[users + 1] - self.causal
        columns = np.arange(lengths.max())
        present_BL = columns < lengths[:, None]
        places_BL = np.where(present_BL, (ends - lengths)[:, None] + columns, 0)
        inputs_BL = np.where(present_BL, self.histories.values[places_BL], 0)
        tokens_T = np.flatnonzero(present_BL)
        labels_T = self.histories.values[places_BL.ravel()[tokens_T] + self.causal]
        negatives_N = self.sampler.draw(generator, self.num_negatives)
        rows_M, index = _distinct(inputs_BL, labels_T, negatives_N, num_rows=len(self.sampler.cumulative))
        batch = TrainBatch(
            rows=torch.from_numpy(rows_M),
            features=self.item_features.take(rows_M),
            inputs=torch.from_numpy(index[inputs_BL]),
            lengths=torch.from_numpy(lengths),
            tokens=torch.from_numpy(tokens_T),
            user_features=self.user_features.take(self.user_rows[users]),
        )
        own_T = np.repeat(users if self.owners is None else self.owners[users], lengths)
        labels, negatives = torch.from_numpy(index[labels_T]), torch.from_numpy(index[negatives_N])
        return Step(batch, labels, negatives, torch.from_numpy(own_T))


@dataclass(frozen=True)
class Epoch:
    """The steps that one process takes in an epoch. batches: the users of every process's batches, in order."""

    loader: Loader
    number: int
    batches: Sequence[Int64]

    def __len__(self) -> int:
        return len(self.batches) // self.loader.world_size

    def __iter__(self) -> Iterator[Step]:
        """Assemble one step at a time."""
        for turn in range(len(self)):
            batch = turn * self.loader.world_size + self.loader.rank
            generator = np.random.default_rng((self.loader.seed, self.number, batch))
            yield self.loader._assemble(self.batches[batch], generator)


def _distinct(*rows: npt.NDArray[np.integer], num_rows: int) -> tuple[Int64, Int64]:
    """The distinct rows, sorted and with row 0 first, and a table [num_rows] from row to its place among them."""
    present = np.zeros(num_rows, bool)
    present[0] = True
    for part in rows:
        present[part] = True
    distinct = np.flatnonzero(present)
    index = np.zeros(num_rows, np.int64)
    index[distinct] = np.arange(len(distinct))
    return distinct, index
