"""The two towers. The inner product of ``encode_items`` and ``encode_users`` is the score.

Shape suffixes: M distinct items, B users, L history length, D embedding_dim, T predicted tokens, F dense numbers.
V: the width of a vector, num_members * D.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..data import OWN_ID, Transform
from .cpu_kernels import Dropout, RMSNorm
from .embedding_tables import Table, bag_tables, id_tables
from .feature_tensors import FeatureRows, id_rows
from .transformer import Block, rotation


@dataclass(frozen=True)
class ModelSpec:
    """Everything that fixes the shape of a TwoTower. ``num_rows``: trained items plus the unknown row 0."""

    num_rows: int
    item_transforms: tuple[Transform, ...]
    user_transforms: tuple[Transform, ...]
    embedding_dim: int  # of one member
    num_members: int
    history: Literal["transformer", "pooling"]
    own_vectors: bool  # of known users, in place of their pooled history
    similarity: Literal["dot", "cosine"]
    num_layers: int
    num_heads: int
    max_history: int
    dropout: float
    id_dropout: float
    user_dropout: float
    temperature: float
    learn_temperature: bool

    @property
    def width(self) -> int:
        """Of the vectors that serve."""
        return self.num_members * self.embedding_dim

    def to_json(self) -> dict[str, Any]:
        """Without the transforms, which the encoder stores."""
        return {name: value for name, value in asdict(self).items() if not name.endswith("_transforms")}


@dataclass(frozen=True)
class TrainBatch:
    """One step's input. Items are given once; everything else indexes them.

    rows: [M] int64 distinct table rows, the first of them 0 (padding). features: their metadata.
    inputs: [B, L] int64 into ``rows``, right-padded with 0. lengths: [B] int64. tokens: [T] int64 places in the
    flattened [B * L] that predict. user_features: metadata of the B users.
    """

    rows: Tensor
    features: FeatureRows
    inputs: Tensor
    lengths: Tensor
    tokens: Tensor
    user_features: FeatureRows


@dataclass(frozen=True)
class Borrowed:
    """What items without a row of their own borrow of others' ids. rows: [M, K] int64. weights: [M, K] float32."""

    rows: Tensor
    weights: Tensor


# Larger than the usual .02, and histories scaled up: with both the demo's world is learned in about half the epochs
# (docs/LOG.md). The dense columns start as small as the tables, or they drown the ids.
INIT_STD = 0.08
HISTORY_SCALE = 4.0
LOG_TEMPERATURES = (math.log(0.01), math.log(2.0))  # a learned temperature stays between


def table_of(role: str, name: str) -> str:
    """A feature's table; torch allows no dot in a module's name."""
    return f"{role}_{name}".replace(".", "%2E")


class MetadataEncoder(nn.Module):
    """Metadata columns to one vector: mean-pooled table rows plus a linear map of the dense numbers."""

    def __init__(
        self, transforms: tuple[Transform, ...], embedding_dim: int, role: str, *, torchrec: bool = False
    ) -> None:
        super().__init__()
        self.torchrec = torchrec
        bags = [transform for transform in transforms if transform.is_bag]
        self.names = [bag.name for bag in bags]
        tables = [Table(table_of(role, bag.name), bag.name, bag.size, embedding_dim) for bag in bags]
        self.tables = bag_tables(tables, torchrec=torchrec) if bags else None
        num_dense = sum(transform.size for transform in transforms if not transform.is_bag)
        self.dense = nn.Linear(num_dense, embedding_dim, bias=False) if num_dense else None
        for table in self.tables.embedding_bags.values() if self.tables is not None else ():
            nn.init.normal_(table.weight, std=INIT_STD)
        if OWN_ID.name in self.names:  # who is never trained on keeps nothing of their own
            nn.init.zeros_(self.tables.embedding_bags[table_of(role, OWN_ID.name)].weight)  # type: ignore[union-attr]
        if self.dense is not None:
            nn.init.normal_(self.dense.weight, std=INIT_STD)

    def forward(self, features: FeatureRows) -> Tensor | None:
        """[M, D], or None where no column is configured."""
        parts = []
        if self.tables is not None:
            assert features.bags is not None  # as configured
            pooled = self.tables(features.bags.to_torchrec() if self.torchrec else features.bags)
            parts += [pooled[name] for name in self.names]
        if self.dense is not None:
            dense = features.dense.to(self.dense.weight.dtype)  # type: ignore[union-attr]  # configured, so it is given
            parts.append(self.dense(dense))  # serving computes in float64
        return torch.stack(parts).sum(dim=0) if parts else None


class ItemTower(nn.Module):
    """Id embedding plus metadata. With id dropout, so that an item never trained on is placed by its metadata."""

    def __init__(self, spec: ModelSpec, *, torchrec: bool = False) -> None:
        super().__init__()
        self.torchrec = torchrec
        self.id_dropout = spec.id_dropout
        self.ids = id_tables([Table("item", "id", spec.num_rows, spec.embedding_dim)], torchrec=torchrec)
        nn.init.normal_(self.ids.embeddings["item"].weight, std=INIT_STD)
        self.metadata = MetadataEncoder(spec.item_transforms, spec.embedding_dim, "item", torchrec=torchrec)

    def forward(self, rows_M: Tensor, features: FeatureRows, borrowed: Borrowed | None = None) -> Tensor:
        """[M, D]. rows_M: [M] int64, 0 for an item without a row of its own."""
        if self.training and self.id_dropout:
            rows_M = rows_M * (torch.rand(rows_M.shape, device=rows_M.device) >= self.id_dropout)
        vectors_MD = self._look_up(rows_M)
        if borrowed is not None:
            ids_MKD = self._look_up(borrowed.rows.flatten()).view(*borrowed.rows.shape, -1)
            vectors_MD = vectors_MD + (ids_MKD * borrowed.weights.unsqueeze(-1)).sum(dim=1)
        metadata_MD = self.metadata(features)
        return vectors_MD if metadata_MD is None else vectors_MD + metadata_MD

    def _look_up(self, rows_M: Tensor) -> Tensor:
        rows = id_rows(rows_M)
        vectors_MD: Tensor = self.ids(rows.to_torchrec() if self.torchrec else rows)["id"].values()
        return vectors_MD


class FoldIn(nn.Module):
    """A new user's own vector, estimated from the pooled history; fitted after training (training/own_vectors.py)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.eye(dim), requires_grad=False)
        self.bias = nn.Parameter(torch.zeros(dim), requires_grad=False)

    def forward(self, pooled: Tensor) -> Tensor:
        """[..., D] to [..., D]; of the pooled history only the direction counts."""
        return F.linear(F.normalize(pooled, dim=-1), self.weight, self.bias)


class UserTower(nn.Module):
    """History, as item vectors, and user columns to one vector per user."""

    def __init__(self, spec: ModelSpec, *, torchrec: bool = False) -> None:
        super().__init__()
        self.history = spec.history
        self.head_dim = spec.embedding_dim // spec.num_heads
        self.dropout = Dropout(spec.dropout)
        self.user_dropout = spec.user_dropout
        num_layers = spec.num_layers if spec.history == "transformer" else 0
        self.blocks = nn.ModuleList(Block(spec.embedding_dim, spec.num_heads, spec.dropout) for _ in range(num_layers))
        self.norm = RMSNorm(spec.embedding_dim) if num_layers else nn.Identity()
        self.metadata = MetadataEncoder(spec.user_transforms, spec.embedding_dim, "user", torchrec=torchrec)
        self.fold_in = FoldIn(spec.embedding_dim) if spec.own_vectors else None

    def forward(self, history_BLD: Tensor, lengths_B: Tensor, features: FeatureRows) -> Tensor:
        """[B, L, D]: for every place, the user who is asked what stands next (ordered) or there (unordered).

        Ordered: from the places up to and including it. Unordered: from all the others, the place itself left out.
        """
        x_BLD = self.dropout(history_BLD)
        if self.history == "pooling":
            total_B1D = (x_BLD * _present(x_BLD, lengths_B)).sum(dim=1, keepdim=True)
            x_BLD = (total_B1D - x_BLD) / (lengths_B - 1).clamp(min=1)[:, None, None]
            x_BLD = x_BLD if self.fold_in is None else self.fold_in(x_BLD)
        else:
            x_BLD = x_BLD * HISTORY_SCALE
            rotation_LH = rotation(x_BLD.shape[1], self.head_dim, x_BLD.dtype, x_BLD.device)
            for block in self.blocks:
                x_BLD = block(x_BLD, rotation_LH)
        return self._finish(x_BLD, features)

    def last(self, history_BLD: Tensor, lengths_B: Tensor, features: FeatureRows) -> Tensor:
        """[B, D]: the user after the whole history; lengths_B: [B] int64, each at least 1."""
        if self.history == "pooling":
            pooled_BD = (history_BLD * _present(history_BLD, lengths_B)).sum(dim=1) / lengths_B.unsqueeze(1)
            pooled_BD = pooled_BD if self.fold_in is None else self.fold_in(pooled_BD)
            return self._finish(pooled_BD.unsqueeze(1), features).squeeze(1)
        x_BLD = history_BLD * HISTORY_SCALE
        rotation_LH = rotation(x_BLD.shape[1], self.head_dim, x_BLD.dtype, x_BLD.device)
        for block in self.blocks[:-1]:
            x_BLD = block(x_BLD, rotation_LH)
        return self._finish(self.blocks[-1](x_BLD, rotation_LH, lengths_B - 1), features).squeeze(1)

    def _finish(self, x_BLD: Tensor, features: FeatureRows) -> Tensor:
        metadata_BD = self.metadata(features)
        if metadata_BD is not None:
            known_B = torch.ones(len(metadata_BD), dtype=torch.bool, device=metadata_BD.device)
            if self.training and self.user_dropout:  # so that a user of whom only the history is known is served well
                known_B = torch.rand(len(metadata_BD), device=metadata_BD.device) >= self.user_dropout
            if self.fold_in is not None:  # without an order, an own vector says all that the history does, and more
                owners_B = known_B & (features.bags[OWN_ID.name].lengths() > 0)  # type: ignore[index]
                x_BLD = x_BLD * ~owners_B[:, None, None]
            metadata_BD = self.dropout(metadata_BD) * known_B.unsqueeze(1)
            x_BLD = x_BLD + metadata_BD.unsqueeze(1).to(x_BLD)
        out: Tensor = self.norm(x_BLD)
        return out


def _present(x_BLD: Tensor, lengths_B: Tensor) -> Tensor:
    """[B, L, 1]: 1 within the row's length, else 0."""
    return (torch.arange(x_BLD.shape[1], device=x_BLD.device) < lengths_B.unsqueeze(1)).unsqueeze(-1).to(x_BLD)


class TwoTower(nn.Module):
    """Item tower and user tower. One class for training, evaluation, batch and online.

    An ensemble where the spec has more members than one: each has towers of its own, and their vectors stand side by
    side, so that the score is the mean of the members' scores, found by one index.
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
        """Item vectors [M, V], user vectors [T, V] and the temperature (scalar) of one training step."""
        items_MV = self.encode_items(batch.rows, batch.features)
        histories = self.members(F.embedding(batch.inputs, items_MV))
        users = [
            tower(history_BLD, batch.lengths, batch.user_features).flatten(0, 1)[batch.tokens]
            for tower, history_BLD in zip(self.user_towers, histories, strict=True)
        ]
        if self.spec.learn_temperature:  # in place: a clamp of the value would have no gradient beyond the bounds
            with torch.no_grad():
                self.log_temperature.clamp_(*LOG_TEMPERATURES)
        return items_MV, self.side_by_side(users), self.log_temperature.exp()

    def encode_items(self, rows_M: Tensor, features: FeatureRows, borrowed: Borrowed | None = None) -> Tensor:
        """[M, V]: unit vectors where the similarity is cosine."""
        return self.side_by_side([tower(rows_M, features, borrowed) for tower in self.item_towers])

    def encode_metadata(self, features: FeatureRows) -> Tensor:
        """[M, V]: what the metadata adds to item vectors, of unit length; zero for an item without any."""
        vectors = torch.cat([tower.metadata(features) for tower in self.item_towers], dim=-1)
        return F.normalize(vectors, dim=-1)

    def encode_users(self, history_BLV: Tensor, lengths_B: Tensor, features: FeatureRows) -> Tensor:
        """[B, V] from histories of item vectors, right-padded; lengths_B: [B] int64, each at least 1."""
        histories = zip(self.user_towers, self.members(history_BLV), strict=True)
        return self.side_by_side([tower.last(history_BLD, lengths_B, features) for tower, history_BLD in histories])

    def members(self, vectors: Tensor) -> tuple[Tensor, ...]:
        """[..., V] to num_members times [..., D], each as its own tower made it."""
        return (vectors * math.sqrt(self.spec.num_members)).chunk(self.spec.num_members, dim=-1)

    def side_by_side(self, members: list[Tensor]) -> Tensor:
        """The inverse, where the similarity is dot."""
        if self.spec.similarity == "cosine":
            members = [F.normalize(vectors, dim=-1) for vectors in members]
        return torch.cat(members, dim=-1) / math.sqrt(self.spec.num_members)
