"""The two towers together. The inner product of ``encode_items`` and ``encode_users`` is the score.

Shape suffixes: K members, M distinct items, B users, L history length, D embedding_dim, T tokens (events that
predict), V the width of a vector, num_members * D, S its width as it serves: V, or the dimensions of the spec.
"""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .embedding_tables import EmbeddingTable
from .feature_tensors import FeatureRows
from .item_tower import BorrowedIds, ItemTower
from .model_spec import ModelSpec
from .user_tower import UserTower

LOG_TEMPERATURES = (math.log(0.01), math.log(2.0))  # the bounds of a learned temperature


@dataclass(frozen=True)
class TrainBatch:
    """The input of one training step. Each distinct item appears once, and histories refer to it by index.

    rows: [M] int64 distinct rows of the item table, the first of them 0 (padding). features: of these items; where the
    towers share columns, of the B users after them. inputs: [B, L] int64 histories as indices into ``rows``,
    right-padded with 0. lengths: [B] int64, of the histories. tokens: [T] int64 indices of what predicts, in the
    flattened [B * L]; with profiles, in [B * (L + 1)], whose last column predicts from the user's columns alone.
    user_features: of the B users.
    """

    rows: Tensor
    features: FeatureRows
    inputs: Tensor
    lengths: Tensor
    tokens: Tensor
    user_features: FeatureRows
    with_profiles: bool = False

    def map(self, change: Callable[[Tensor], Tensor]) -> "TrainBatch":
        """The same batch with every tensor changed."""
        return TrainBatch(
            rows=change(self.rows), features=self.features.map(change), inputs=change(self.inputs),
            lengths=change(self.lengths), tokens=change(self.tokens), user_features=self.user_features.map(change),
            with_profiles=self.with_profiles,
        )  # fmt: skip


class TwoTower(nn.Module):
    """Item tower and user tower: one class for training, evaluation, batch scoring and serving.

    With more than one member it is an ensemble: each member has its own weights, and their vectors are concatenated, so
    that the score is the mean of the members' scores, and one index searches for it. Members are computed together, in
    batched products.

    A model that serves may return fewer numbers in every vector (narrowing.py), and reads histories of such vectors.
    """

    basis: Tensor | None  # [V, S]

    def __init__(self, spec: ModelSpec, *, torchrec: bool = False) -> None:
        """torchrec: build the embedding tables from TorchRec, as a model whose training is sharded needs. They have no
        weights until then.
        """
        super().__init__()
        self.spec, self.torchrec = spec, torchrec
        self.item_tower = ItemTower(spec, torchrec=torchrec)
        self.user_tower = UserTower(spec, torchrec=torchrec)
        start = torch.tensor(spec.temperature).log()
        self.log_temperature = nn.Parameter(start, requires_grad=spec.learn_temperature)
        self.register_buffer("basis", None if spec.dimensions is None else torch.empty(spec.width, spec.dimensions))

    def forward(self, batch: TrainBatch) -> tuple[Tensor, Tensor, Tensor]:
        """Item vectors [M, V], user vectors [T, V] and the temperature, a scalar."""
        metadata, shared_BV = self.item_tower.metadata(batch.features), None
        if self.spec.shared:
            metadata, shared_BV = metadata.split([len(batch.rows), len(batch.lengths)])
        items_MV = self._scaled(self.item_tower.combined(batch.rows, metadata))
        metadata_BV = self.user_tower.read(batch.user_features, shared_BV)
        histories = self.split_histories(F.embedding(batch.inputs, items_MV))
        users_KBLD = self.user_tower(
            histories, batch.lengths, batch.user_features, metadata_BV, with_profiles=batch.with_profiles
        )
        users_KTD = users_KBLD.flatten(1, 2)[:, batch.tokens]
        if self.spec.learn_temperature:  # in place, since a clamped value would have no gradient beyond the bounds
            with torch.no_grad():
                self.log_temperature.clamp_(*LOG_TEMPERATURES)
        return items_MV, self.join_members(users_KTD), self.log_temperature.exp()

    def lookups(self, batch: TrainBatch) -> list[tuple[EmbeddingTable, Tensor]]:
        """The plain tables that ``forward`` reads, and the distinct rows that it reads of each."""
        items: EmbeddingTable = self.item_tower.ids.embeddings["item"]
        of_items, of_users = self.item_tower.metadata, self.user_tower.metadata
        of_ids = [(items, batch.rows)] if self.spec.id_dropout < 1 else []
        return [*of_ids, *of_items.lookups(batch.features), *of_users.lookups(batch.user_features)]

    def encode_items(self, rows_M: Tensor, features: FeatureRows, borrowed: BorrowedIds | None = None) -> Tensor:
        """The items' vectors, [M, S], of length 1 if the similarity is cosine and nothing is cut. Arguments: see
        ``ItemTower.forward``.
        """
        return self.cut(self._scaled(self.item_tower(rows_M, features, borrowed)))

    def encode_metadata(self, features: FeatureRows) -> Tensor:
        """What the features add to the items' vectors, scaled to length 1, [M, V]; zero without features."""
        return F.normalize(self.item_tower.metadata(features), dim=-1)

    def encode_users(self, history_BLS: Tensor, lengths_B: Tensor, features: FeatureRows) -> Tensor:
        """The users' vectors, [B, S].

        Args:
            history_BLS: item vectors, right-padded.
            lengths_B: int64, each at least 1.
            features: of the users.
        """
        histories = self.split_histories(history_BLS)
        return self.join_members(self.user_tower.last(histories, lengths_B, features, self.shared_metadata(features)))

    def encode_profiles(self, features: FeatureRows) -> Tensor:
        """The vectors of users without a history, [B, S]. features: of the users, something known of each."""
        return self.join_members(self.user_tower.profile(features, self.shared_metadata(features)))

    def shared_metadata(self, features: FeatureRows) -> Tensor | None:
        """What the users' columns that both towers read add, [B, V]; None without such columns."""
        return None if features.as_items is None else self.item_tower.metadata(features.as_items)

    def for_users_only(self) -> "TwoTower":
        """A copy that encodes users and no items: the item tower's tables are most of a model's memory."""
        shallow = copy.copy(self)
        shared = self.item_tower.without_ids() if self.spec.shared else None
        shallow._modules = self._modules | {"item_tower": shared}
        return copy.deepcopy(shallow)

    def split_members(self, vectors: Tensor) -> Tensor:
        """The members' own vectors, [K, ..., D], from [..., V]."""
        return self._by_member(vectors * math.sqrt(self.spec.num_members)).movedim(-2, 0)

    def split_histories(self, history_BLS: Tensor) -> Tensor:
        """The members' own vectors, [K, B, L, D], as the user tower reads them."""
        scale = self.user_tower.history_scale * math.sqrt(self.spec.num_members)
        return self._by_member(self.lift(history_BLS) * scale).movedim(-2, 0)

    def join_members(self, members: Tensor) -> Tensor:
        """One vector, [..., S], from the members', [K, ..., D].

        The inverse of ``split_members`` if the similarity is dot and nothing is cut.
        """
        return self.cut(self._scaled(members.movedim(0, -2).flatten(-2)))

    def cut(self, vectors: Tensor) -> Tensor:
        """What serves of vectors [..., V]: their coordinates on the basis, [..., S], where the spec says how many.

        In float64, so that an item's vector hardly depends on how many are cut at once.
        """
        if self.basis is None:
            return vectors
        return (vectors.double() @ self.basis.double()).to(vectors.dtype)

    def lift(self, vectors: Tensor) -> Tensor:
        """The vectors [..., V] nearest to those of which ``cut`` left these, [..., S], of the model's dtype."""
        return vectors if self.basis is None else vectors.to(self.basis.dtype) @ self.basis.mT

    def _scaled(self, vectors: Tensor) -> Tensor:
        """[..., V], so that the score is the mean of the members' scores."""
        if self.spec.similarity == "cosine":
            vectors = F.normalize(self._by_member(vectors), dim=-1).flatten(-2)
        return vectors / math.sqrt(self.spec.num_members)

    def _by_member(self, vectors: Tensor) -> Tensor:
        """[..., V] as [..., K, D]."""
        return vectors.view(*vectors.shape[:-1], self.spec.num_members, self.spec.embedding_dim)
