"""Features of items or users to vectors.

Shape suffixes: M items or users, V the width of a vector.
"""

import torch
from torch import Tensor, nn

from ..data import OWN_ID, Transform
from .embedding_tables import EmbeddingTable, Table, bag_tables
from .feature_tensors import FeatureRows

# Larger than the usual .02: with it and HISTORY_SCALE, training on the demo's data takes about half the epochs
# (docs/LOG.md). The weights of dense features start as small as the tables, or they would drown out the ids.
INIT_STD = 0.08


def table_name(role: str, feature: str) -> str:
    """The name of a feature's embedding table. role: "item" or "user". Torch allows no dot in a module's name."""
    return f"{role}_{feature}".replace(".", "%2E")


class MetadataEncoder(nn.Module):
    """Features to one vector: the mean of each bag's table rows, plus a linear map of the dense numbers.

    Args:
        transforms: of the features.
        width: V.
        role: "item" or "user".
        torchrec: as for TwoTower.
    """

    def __init__(self, transforms: tuple[Transform, ...], width: int, role: str, *, torchrec: bool = False) -> None:
        super().__init__()
        self.torchrec = torchrec
        bags = [transform for transform in transforms if transform.is_bag]
        self.names, self.role = [bag.name for bag in bags], role
        tables = [Table(table_name(role, bag.name), bag.name, bag.size, width) for bag in bags]
        self.tables = bag_tables(tables, torchrec=torchrec) if bags else None
        num_dense = sum(transform.size for transform in transforms if not transform.is_bag)
        self.dense = nn.Linear(num_dense, width, bias=False) if num_dense else None
        for table in self.tables.embedding_bags.values() if self.tables is not None else ():
            nn.init.normal_(table.weight, std=INIT_STD)
        if OWN_ID.name in self.names:  # so that a user without training events has no vector of their own
            nn.init.zeros_(self.tables.embedding_bags[table_name(role, OWN_ID.name)].weight)  # type: ignore[union-attr]
        if self.dense is not None:
            nn.init.normal_(self.dense.weight, std=INIT_STD)

    def forward(self, features: FeatureRows) -> Tensor | None:
        """The sum of the features' vectors, [M, V]; None without features."""
        parts = []
        if self.tables is not None:
            assert features.bags is not None  # as configured
            pooled = self.tables(features.bags.to_torchrec() if self.torchrec else features.bags)
            parts += [pooled[name] for name in self.names]
        if self.dense is not None:
            assert features.dense is not None  # as configured
            parts.append(self.dense(features.dense.to(self.dense.weight.dtype)))  # serving computes in float64
        return torch.stack(parts).sum(dim=0) if parts else None  # in the widest of their dtypes

    def lookups(self, features: FeatureRows) -> list[tuple[EmbeddingTable, Tensor]]:
        """The plain tables, and the distinct rows that ``forward`` reads of each."""
        if features.bags is None or features.bags.rows is None or self.tables is None:
            return []
        tables = (self.tables.embedding_bags[table_name(self.role, name)] for name in features.bags.keys)
        return list(zip(tables, features.bags.rows, strict=True))
