"""Training batches from jagged histories: similar lengths together, at most so many tokens, a new order every epoch.

Shape suffixes: B users, L history length, T tokens that predict, N drawn negatives, M distinct items.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from recsys.data import Int32, Int64, Jagged, JaggedParts, distinct_rows, lookup_rows
from recsys.errors import InputError
from recsys.model import FeatureTable, HistoryEncoder, TrainBatch, known_profiles

from ..description import TrainingDescription
from ..sharding import ALONE, World
from .negatives import NegativePool, NegativeSampler

WINDOW_BATCHES = 32  # users are sorted by length within a shuffled window of about this many batches


@dataclass(frozen=True)
class Step:
    """A batch for the model, and what the loss compares, as indices into the batch's distinct items.

    labels: [T] int64, the item each token predicts, from columns alone last. pool: [N] int64, the
    negatives. label_ids, pool_ids: the same, as rows of the item table. log_expected: [N] float32, the logarithm of how
    often a pool is expected to hold each of them. own: [T] int64, each token's user as a row of the loader's histories.
    seed: for the model's dropout.
    """

    batch: TrainBatch
    labels: Tensor
    pool: Tensor
    label_ids: Tensor
    pool_ids: Tensor
    log_expected: Tensor
    own: Tensor
    seed: int

    def map(self, change: Callable[[Tensor], Tensor]) -> "Step":
        """The same step with every tensor changed."""
        return Step(
            batch=self.batch.map(change), labels=change(self.labels), pool=change(self.pool),
            label_ids=change(self.label_ids), pool_ids=change(self.pool_ids),
            log_expected=change(self.log_expected), own=change(self.own), seed=self.seed,
        )  # fmt: skip


@dataclass(frozen=True)
class Loader:
    """Serves the batches of an epoch. Every epoch is a function of (seed, epoch) alone.

    histories: training histories from which something can be learned. user_rows: [num histories] int64 rows of
    ``user_features``.
    batch_tokens: the most positions in a batch, padding included; a single longer history still makes a batch.
    history_encoder: with "transformer", a position predicts the next item; with "pooling", its own item from the
    others; with "none", every item is predicted from the user's columns alone.
    knows_profiles: whether columns alone also predict an item of each user of whom they say something: the first one,
    or a random one of an unordered history.
    shares_columns: whether the towers read columns together.
    piece_length: if set, every epoch cuts each unordered history at random into pieces of at least so many items and
    fewer than twice as many, so that its user takes part in several steps. Shorter histories stay whole.
    owners: [num histories] int64, for pieces only: the row of the history that each was cut from.
    distinct: whether batches name the distinct rows of every table; TorchRec's tables find them by themselves.
    rank, world_size: this process takes every world_size-th batch; all processes take equally many.
    """

    histories: JaggedParts
    user_rows: Int64
    item_features: FeatureTable
    user_features: FeatureTable
    pool: NegativePool
    num_negatives: int
    batch_tokens: int
    max_history: int
    history_encoder: HistoryEncoder
    seed: int
    knows_profiles: bool = False
    shares_columns: bool = False
    piece_length: int | None = None
    owners: Int64 | None = None
    distinct: bool = True
    rank: int = 0
    world_size: int = 1

    def epoch(self, number: int, *, start: int = 0) -> "Epoch":
        """The steps of one epoch, without the first ``start`` of this process."""
        generator = np.random.default_rng((self.seed, number))
        loader = self if self.piece_length is None else self._in_pieces(self.piece_length, generator)
        users = generator.permutation(len(loader.histories))
        batches = cut_into_batches(users, loader.num_tokens[users], self.batch_tokens)
        batches = split_for_processes(batches, self.world_size)
        return Epoch(loader, number, [batches[index] for index in generator.permutation(len(batches))], start)

    @property
    def causal(self) -> bool:
        """Whether a position predicts the next item."""
        return self.history_encoder == "transformer"

    @cached_property
    def lengths(self) -> Int64:
        """[num histories] int64 input positions of each history, at most ``max_history``."""
        if self.history_encoder == "none":
            return np.zeros(len(self.histories), np.int64)
        return np.minimum(self.histories.lengths - self.causal, self.max_history)

    @cached_property
    def num_tokens(self) -> Int64:
        """[num histories] int64 predictions of each history, at least 1, by which batches are cut."""
        return self.histories.lengths if self.history_encoder == "none" else np.maximum(self.lengths, 1)

    def _in_pieces(self, piece_length: int, generator: np.random.Generator) -> "Loader":
        """Shuffle each history and cut it into pieces, as equal in length as possible."""
        whole = self.histories
        num_pieces = np.maximum(1, whole.lengths // piece_length)
        owners = np.repeat(np.arange(len(whole)), num_pieces)
        number_of_piece = np.arange(len(owners)) - np.repeat(np.cumsum(num_pieces) - num_pieces, num_pieces)
        has_extra_item = number_of_piece < (whole.lengths % num_pieces)[owners]
        lengths = whole.lengths[owners] // num_pieces[owners] + has_extra_item
        shuffled = [
            block.values[np.lexsort((generator.random(len(block.values)), block.row_of_value))]
            for block in whole.blocks()
        ]
        pieces = JaggedParts([Jagged.from_lengths(np.concatenate(shuffled), lengths)])
        return replace(self, histories=pieces, user_rows=self.user_rows[owners], owners=owners)

    def assemble(self, users: Int64, generator: np.random.Generator) -> Step:
        """The step of a batch of users (rows of the histories), with negatives drawn from ``generator``."""
        lengths, histories = self.lengths[users], self.histories.take(users)
        ends = histories.offsets[1:] - self.causal
        columns = np.arange(lengths.max())
        present_BL = columns < lengths[:, None]
        source_BL = np.where(present_BL, (ends - lengths)[:, None] + columns, 0)
        inputs_BL = np.where(present_BL, histories.values[source_BL], 0)
        profiles_P, profile_labels_P = self._profiles(users, histories, generator)
        labels_T = np.concatenate([histories.values[source_BL[present_BL] + self.causal], profile_labels_P])
        num_columns = len(columns) + (len(profiles_P) > 0)  # the last one for what columns alone predict
        row_T, column_T = np.nonzero(present_BL)
        tokens_T = np.concatenate([row_T * num_columns + column_T, profiles_P * num_columns + len(columns)])
        pool_N = self.pool.members(self.pool.drawn.draw(generator, self.num_negatives), labels_T)
        log_expected_N = self.pool.log_expected(self.num_negatives, len(labels_T), pool_N)
        rows_M, index = distinct_rows(np.concatenate([[0], inputs_BL.ravel(), labels_T, pool_N]))
        inputs, labels, pool = np.split(index[1:], np.cumsum([inputs_BL.size, len(labels_T)]))
        user_rows = self.user_rows[users]
        if self.shares_columns:
            features = self.item_features.take_with(rows_M, self.user_features, user_rows, distinct=self.distinct)
        else:
            features = self.item_features.take(rows_M, distinct=self.distinct)
        batch = TrainBatch(
            rows=torch.from_numpy(rows_M),
            features=features,
            inputs=torch.from_numpy(inputs.reshape(inputs_BL.shape)),
            lengths=torch.from_numpy(lengths),
            tokens=torch.from_numpy(tokens_T),
            user_features=self.user_features.own.take(user_rows, distinct=self.distinct),
            with_profiles=len(profiles_P) > 0,
        )
        owners = users if self.owners is None else self.owners[users]
        own_T = np.concatenate([np.repeat(owners, lengths), owners[profiles_P]])
        return Step(
            batch, torch.from_numpy(labels), torch.from_numpy(pool), torch.from_numpy(labels_T.astype(np.int64)),
            torch.from_numpy(pool_N), torch.from_numpy(log_expected_N), torch.from_numpy(own_T),
            seed=int(generator.integers(1 << 62)),
        )  # fmt: skip

    def _profiles(self, users: Int64, histories: Jagged, generator: np.random.Generator) -> tuple[Int64, Int32]:
        """[P] which of these users predict an item from columns alone, and [P] the items."""
        if self.history_encoder == "none":
            return histories.row_of_value, histories.values
        if not self.knows_profiles:
            return np.zeros(0, np.int64), np.zeros(0, np.int32)
        assert self.user_features.is_known is not None  # of users
        profiles_P = np.flatnonzero(self.user_features.is_known[self.user_rows[users]])
        chosen = np.zeros(len(profiles_P), np.int64)
        if not self.causal:
            chosen = generator.integers(histories.lengths[profiles_P])
        return profiles_P, histories.values[histories.offsets[profiles_P] + chosen]


@dataclass(frozen=True)
class Epoch:
    """The steps that one process takes in an epoch.

    batches: the users of every process's batches, in order. start: how many steps are left out.
    """

    loader: Loader
    number: int
    batches: Sequence[Int64]
    start: int

    def __len__(self) -> int:
        return len(self.batches) // self.loader.world_size - self.start

    def __iter__(self) -> Iterator[Step]:
        """Assemble one step at a time."""
        for turn in range(self.start, self.start + len(self)):
            index = turn * self.loader.world_size + self.loader.rank
            generator = np.random.default_rng((self.loader.seed, self.number, index))
            yield self.loader.assemble(self.batches[index], generator)


def make_loader(training: TrainingDescription, world: World = ALONE) -> Loader:
    """The loader over all users with two training events or more, or with one and known columns, for one process of
    ``world``.

    Raises InputError if there is no such user.
    """
    config, recipe, dataset = training.config, training.recipe, training.dataset
    user_ids, histories = dataset.train()
    users, encoder, spec = dataset.users(), dataset.encoder, recipe.model
    user_features = FeatureTable.of_users(spec, users)
    assert user_features.is_known is not None  # of users
    user_rows = lookup_rows(user_ids, users.get_column("user_id"), offset=1).astype(np.int64)
    has_profile = known_profiles(spec, user_features, user_rows)
    has_next = (histories.lengths >= 2) & (spec.history_encoder != "none")
    trainable = np.flatnonzero(has_next | has_profile & (histories.lengths >= 1))  # a refit has empty histories
    if not len(trainable):
        raise InputError(
            "no user has two training events, or one and known columns, so there is nothing to predict; expected a "
            "longer log, or features.user"
        )
    counts = histories.count_codes(encoder.num_trained + 1)  # in a refit, of validation events too
    return Loader(
        histories=histories.select(trainable),
        user_rows=user_rows[trainable],
        item_features=FeatureTable.from_frame(encoder.item_transforms, dataset.item_features()),
        user_features=user_features,
        pool=NegativePool(
            NegativeSampler.from_counts(counts, config.loss.popularity_exponent),
            NegativeSampler.from_counts(counts, 1.0) if config.loss.in_batch else None,
        ),
        num_negatives=config.loss.num_negatives,
        batch_tokens=max(1, recipe.batch_tokens // world.size),
        max_history=spec.max_history,
        history_encoder=spec.history_encoder,
        knows_profiles=spec.knows_profiles,
        shares_columns=bool(spec.shared),
        piece_length=recipe.piece_length,
        seed=config.training.seed,
        distinct=not world.sharded,
        rank=world.rank,
        world_size=world.size,
    )


def cut_into_batches(users: Int64, lengths: Int64, batch_tokens: int) -> list[Int64]:
    """Cut shuffled users into batches with little padding.

    Within windows of about ``WINDOW_BATCHES`` batches, users are sorted from long to short, so that those of a batch
    have similar lengths and yet no two epochs have the same batches. A batch takes as many users of its window as fit
    when all are padded to the longest, its first, and at least one.

    Args:
        users: [U] int64, in random order.
        lengths: [U] int64, their input positions.
        batch_tokens: The most positions in a batch, padding included.
    """
    windows = np.cumsum(lengths) // (WINDOW_BATCHES * batch_tokens)
    order = np.lexsort((-lengths, windows))
    users, lengths, windows = users[order], lengths[order], windows[order]
    window_ends = np.searchsorted(windows, windows, side="right")
    starts, start = list[int](), 0
    while start < len(users):
        starts.append(start)
        num_users = max(1, batch_tokens // int(lengths[start]))
        start = min(start + num_users, int(window_ends[start]))
    return np.split(users, starts[1:])


def split_for_processes(batches: list[Int64], world_size: int) -> list[Int64]:
    """Halve the largest batches until all processes can take equally many and no user is left out."""
    while len(batches) % world_size and max(map(len, batches)) > 1:
        largest = max(range(len(batches)), key=lambda index: len(batches[index]))
        batches[largest : largest + 1] = np.array_split(batches[largest], 2)
    return batches
