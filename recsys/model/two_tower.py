"""The two towers together. The inner product of ``encode_items`` and ``encode_users`` is the score.

Shape suffixes: M distinct items, B users, L history length, D embedding_dim, T tokens (events that predict), V the
width of a vector, num_members * D.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .feature_tensors import FeatureRows
from .item_tower import BorrowedIds, ItemTower
from .model_spec import ModelSpec
from .user_tower import UserTower

LOG_TEMPERATURES = (math.log(0.01), math.log(2.0))  # the bounds of a learned temperature


@dataclass(frozen=True)
class TrainBatch:
    """The input of one training step. Each distinct item appears once, and histories refer to it by index.

    rows: [M] int64 distinct rows of the item table, the first of them 0 (padding). features: of these items.
    inputs: [B, L] int64 histories as indices into ``rows``, right-padded with 0. lengths: [B] int64, of the histories.
    tokens: [T] int64 indices of the events that predict, in the flattened [B * L]. user_features: of the B users.
    """

    rows: Tensor
    features: FeatureRows
    inputs: Tensor
    lengths: Tensor
    tokens: Tensor
    user_features: FeatureRows


class TwoTower(nn.Module):
    """Item tower and user tower: one class for training, evaluation, batch scoring and serving.

    With more than one member it is an ensemble: each member has its own towers, and their vectors are concatenated, so
    that the score is the mean of the members' scores, and one index searches for it.
    """

    item_towers: Sequence[ItemTower]
    user_towers: Sequence[UserTower]

    def __init__(self, spec: ModelSpec, *, torchrec: bool = False) -> None:
        """torchrec: build the embedding tables from TorchRec, as a model whose training is sharded needs."""
        super().__init__()
        self.spec, self.torchrec = spec, torchrec
        item_towers = [ItemTower(spec, torchrec=torchrec) for _ in range(spec.num_members)]
        user_towers = [UserTower(spec, torchrec=torchrec) for _ in range(spec.num_members)]
        self.item_towers = nn.ModuleList(item_towers)  # type: ignore[assignment]  # untyped in torch
        self.user_towers = nn.ModuleList(user_towers)  # type: ignore[assignment]
        start = torch.tensor(spec.temperature).log()
        self.log_temperature = nn.Parameter(start, requires_grad=spec.learn_temperature)

    def forward(self, batch: TrainBatch) -> tuple[Tensor, Tensor, Tensor]:
        """Item vectors [M, V], user vectors [T, V] and the temperature, a scalar."""
        items_MV = self.encode_items(batch.rows, batch.features)
        histories = self.split_members(F.embedding(batch.inputs, items_MV))
        users = [
            tower(history_BLD, batch.lengths, batch.user_features).flatten(0, 1)[batch.tokens]
            for tower, history_BLD in zip(self.user_towers, histories, strict=True)
        ]
        if self.spec.learn_temperature:  # in place, since a clamped value would have no gradient beyond the bounds
            with torch.no_grad():
                self.log_temperature.clamp_(*LOG_TEMPERATURES)
        return items_MV, self.join_members(users), self.log_temperature.exp()

    def encode_items(self, rows_M: Tensor, features: FeatureRows, borrowed: BorrowedIds | None = None) -> Tensor:
        """The items' vectors, [M, V], of length 1 if the similarity is cosine. Arguments: see ``ItemTower.forward``."""
        return self.join_members([tower(rows_M, features, borrowed) for tower in self.item_towers])

    def encode_metadata(self, features: FeatureRows) -> Tensor:
        """What the features add to the items' vectors, scaled to length 1, [M, V]; zero without features."""
        vectors = torch.cat([tower.metadata(features) for tower in self.item_towers], dim=-1)
        return F.normalize(vectors, dim=-1)

    def encode_users(self, history_BLV: Tensor, lengths_B: Tensor, features: FeatureRows) -> Tensor:
        """The users' vectors, [B, V].

        Args:
            history_BLV: item vectors, right-padded.
            lengths_B: int64, each at least 1.
            features: of the users.
        """
        histories = zip(self.user_towers, self.split_members(history_BLV), strict=True)
        return self.join_members([tower.last(history_BLD, lengths_B, features) for tower, history_BLD in histories])

    def split_members(self, vectors: Tensor) -> tuple[Tensor, ...]:
        """The members' own vectors, num_members times [..., D], from [..., V]."""
        return (vectors * math.sqrt(self.spec.num_members)).chunk(self.spec.num_members, dim=-1)

    def join_members(self, members: list[Tensor]) -> Tensor:
        """One vector, [..., V], from the members'; the inverse of ``split_members`` if the similarity is dot."""
        if self.spec.similarity == "cosine":
            members = [F.normalize(vectors, dim=-1) for vectors in members]
        return torch.cat(members, dim=-1) / math.sqrt(self.spec.num_members)
