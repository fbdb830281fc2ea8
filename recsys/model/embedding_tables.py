"""Embedding tables: plain torch by default, TorchRec's where training shards them over processes.

Both kinds name their weights alike, and compute the same values and gradients to the bit. TorchRec's tables have
shapes but no weights (they are on the "meta" device) until training divides them: a whole one might not fit into any
process. TorchRec is imported only for a model that is built with ``torchrec=True``: importing it takes longer than
importing torch.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Larger than the usual .02: with it and HISTORY_SCALE, training on the demo's data takes about half the epochs
# (docs/LOG.md). The weights of dense features start as small as the tables, or they would drown out the ids.
INIT_STD = 0.08


@dataclass(frozen=True)
class Table:
    """The shape of one embedding table, which one feature looks up. name: the one under which its weights are saved."""

    name: str
    feature: str
    num_rows: int
    dim: int


class EmbeddingTable(nn.Embedding):
    """One table. While it is trained, its rows are read through the optimizer, which steps no others.

    reader: from distinct rows [U] to their vectors [U, D], in training; None reads the weights.
    """

    reader: Callable[[Tensor], Tensor] | None = None

    def forward(self, rows_U: Tensor) -> Tensor:
        """The vectors of the rows, [U, D]."""
        if self.training and self.reader is not None:
            return self.reader(rows_U)
        return F.embedding(rows_U, self.weight)


class JaggedTensor:
    """Lists of table rows, one per batch entry, stored end to end."""

    def __init__(self, values: Tensor, offsets: Tensor) -> None:
        self._values, self._offsets = values, offsets

    def values(self) -> Tensor:
        """[sum of lengths]."""
        return self._values

    def offsets(self) -> Tensor:
        """[M + 1] int64, where each list starts, and the end."""
        return self._offsets

    def lengths(self) -> Tensor:
        """[M] int64."""
        return self._offsets.diff()


class KeyedJaggedTensor:
    """The table rows that several features look up, for M batch entries.

    Args:
        keys: the features' names.
        values: int64 table rows, feature by feature, or places in ``rows``.
        offsets: [num_keys, M + 1] int64, where each batch entry's rows start among the feature's values, and the end.
        sizes: how many values each feature has. Reading them from ``offsets`` would keep a GPU waiting.
        rows: of each feature, the distinct table rows that ``values`` stand for; None if they are rows themselves.
    """

    def __init__(
        self, keys: list[str], values: Tensor, offsets: Tensor, sizes: list[int], rows: list[Tensor] | None = None
    ) -> None:
        self.keys, self.values, self.offsets, self.sizes, self.rows = keys, values, offsets, sizes, rows

    def __getitem__(self, key: str) -> JaggedTensor:
        number = self.keys.index(key)
        return JaggedTensor(torch.split(self.values, self.sizes)[number], self.offsets[number])

    def distinct(self, key: str) -> Tensor | None:
        """The rows that a feature's values stand for; None if they are rows themselves."""
        return None if self.rows is None else self.rows[self.keys.index(key)]

    def map(self, change: Callable[[Tensor], Tensor]) -> "KeyedJaggedTensor":
        """The same with every tensor changed."""
        rows = None if self.rows is None else [change(part) for part in self.rows]
        return KeyedJaggedTensor(self.keys, change(self.values), change(self.offsets), self.sizes, rows)

    def to_torchrec(self) -> Any:
        """The same rows as TorchRec's class of this name."""
        from torchrec import KeyedJaggedTensor as TorchRecKeyedJaggedTensor

        return TorchRecKeyedJaggedTensor(
            keys=self.keys, values=self.values, lengths=self.offsets.diff().flatten(), length_per_key=self.sizes
        )


class EmbeddingCollection(nn.Module):
    """Tables that give one vector per row that is looked up."""

    def __init__(self, tables: list[Table]) -> None:
        super().__init__()
        self._table_names = {table.feature: table.name for table in tables}
        self.embeddings = nn.ModuleDict({table.name: EmbeddingTable(table.num_rows, table.dim) for table in tables})
        _initialise(self.embeddings)

    def forward(self, features: KeyedJaggedTensor) -> dict[str, JaggedTensor]:
        """Vectors [sum of lengths, D] by feature: float32 whatever the weights, as TorchRec's are."""
        return {
            feature: JaggedTensor(self.look_up(feature, features[feature].values()), features[feature].offsets())
            for feature in self._table_names
        }

    def look_up(self, feature: str, rows: Tensor) -> Tensor:
        """The vectors of one feature's rows, without lists around them."""
        vectors: Tensor = self.embeddings[self._table_names[feature]](rows)
        return vectors.float()


class EmbeddingBagCollection(nn.Module):
    """Tables that give the mean vector of each bag of rows; zero for an empty bag."""

    def __init__(self, tables: list[Table]) -> None:
        super().__init__()
        self._table_names = {table.feature: table.name for table in tables}
        self.embedding_bags = nn.ModuleDict({
            table.name: EmbeddingTable(table.num_rows, table.dim) for table in tables
        })  # fmt: skip
        _initialise(self.embedding_bags)

    def forward(self, features: KeyedJaggedTensor) -> dict[str, Tensor]:
        """Vectors [M, D] by feature: float32 whatever the weights, as TorchRec's are."""
        pooled = {}
        for feature, name in self._table_names.items():
            bags = features[feature]
            table, rows = self.embedding_bags[name], features.distinct(feature)
            vectors: Tensor = table.weight if rows is None else table(rows)  # type: ignore[assignment]  # a module
            pooled[feature] = F.embedding_bag(
                bags.values(), vectors, bags.offsets(), mode="mean", include_last_offset=True
            ).float()
        return pooled


def id_tables(tables: list[Table], *, torchrec: bool) -> Any:
    """An EmbeddingCollection; ``torchrec``: TorchRec's own, without memory for its weights."""
    if not torchrec:
        return EmbeddingCollection(tables)
    from torchrec import EmbeddingCollection as TorchRecCollection, EmbeddingConfig

    return TorchRecCollection(
        tables=[
            EmbeddingConfig(
                name=table.name, embedding_dim=table.dim, num_embeddings=table.num_rows, feature_names=[table.feature]
            )
            for table in tables
        ],
        device=torch.device("meta"),
    )


def bag_tables(tables: list[Table], *, torchrec: bool) -> Any:
    """An EmbeddingBagCollection; ``torchrec``: TorchRec's own, without memory for its weights."""
    if not torchrec:
        return EmbeddingBagCollection(tables)
    from torchrec import EmbeddingBagCollection as TorchRecCollection, EmbeddingBagConfig, PoolingType

    return TorchRecCollection(
        tables=[
            EmbeddingBagConfig(
                name=table.name, embedding_dim=table.dim, num_embeddings=table.num_rows,
                feature_names=[table.feature], pooling=PoolingType.MEAN,
            )
            for table in tables
        ],
        device=torch.device("meta"),
    )  # fmt: skip


def _initialise(tables: nn.ModuleDict) -> None:
    """Draw weights as TorchRec does."""
    for weight in tables.parameters():
        bound = math.sqrt(1 / len(weight))
        nn.init.uniform_(weight, -bound, bound)
