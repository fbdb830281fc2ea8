"""What recsys uses of TorchRec's collections, in plain torch: the same names of weights, the same vectors."""

from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class PoolingType(Enum):
    """How the rows of a bag become one vector."""

    MEAN = "mean"


@dataclass(frozen=True)
class EmbeddingConfig:
    """A table that is looked up by one feature."""

    name: str
    embedding_dim: int
    num_embeddings: int
    feature_names: list[str]
    pooling: PoolingType | None = None


class JaggedTensor:
    """Rows of any length, one after the other."""

    def __init__(self, values: Tensor, lengths: Tensor) -> None:
        self._values, self._lengths = values, lengths

    def values(self) -> Tensor:
        """[sum of lengths]."""
        return self._values

    def lengths(self) -> Tensor:
        """[M] int64."""
        return self._lengths


class KeyedJaggedTensor:
    """The jagged rows of several features. values and lengths: feature by feature, [num_keys * M] lengths."""

    def __init__(self, keys: list[str], values: Tensor, lengths: Tensor) -> None:
        self._keys, self._values, self._lengths = keys, values, lengths

    def __getitem__(self, key: str) -> JaggedTensor:
        lengths = self._lengths.view(len(self._keys), -1)
        place = self._keys.index(key)
        parts = torch.split(self._values, lengths.sum(dim=1).tolist())
        return JaggedTensor(parts[place], lengths[place])

    def to(self, device: torch.device) -> "KeyedJaggedTensor":
        """On another device."""
        return KeyedJaggedTensor(self._keys, self._values.to(device), self._lengths.to(device))


EmbeddingBagConfig = EmbeddingConfig


class EmbeddingCollection(nn.Module):
    """A table row per id."""

    def __init__(self, tables: list[EmbeddingConfig]) -> None:
        super().__init__()
        self._table_of = {table.feature_names[0]: table.name for table in tables}
        self.embeddings = nn.ModuleDict(
            {table.name: nn.Embedding(table.num_embeddings, table.embedding_dim) for table in tables}
        )

    def forward(self, features: KeyedJaggedTensor) -> dict[str, JaggedTensor]:
        """Feature to [sum of lengths, D]."""
        found = {feature: (features[feature], self.embeddings[table]) for feature, table in self._table_of.items()}
        return {key: JaggedTensor(table(rows.values()), rows.lengths()) for key, (rows, table) in found.items()}


class EmbeddingBagCollection(nn.Module):
    """The mean of a bag's table rows; zero for an empty bag."""

    def __init__(self, tables: list[EmbeddingConfig]) -> None:
        super().__init__()
        self._table_of = {table.feature_names[0]: table.name for table in tables}
        self.embedding_bags = nn.ModuleDict(
            {table.name: nn.EmbeddingBag(table.num_embeddings, table.embedding_dim, mode="mean") for table in tables}
        )

    def forward(self, features: KeyedJaggedTensor) -> dict[str, Tensor]:
        """Feature to [M, D]."""
        pooled = {}
        for feature, table in self._table_of.items():
            rows, lengths = features[feature].values(), features[feature].lengths()
            pooled[feature] = self.embedding_bags[table](rows, F.pad(lengths.cumsum(0), (1, 0))[:-1])
        return pooled
