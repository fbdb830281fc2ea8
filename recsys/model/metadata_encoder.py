"""Features of items or users to vectors.

Shape suffixes: M items or users, V the width of a vector.
"""

import torch
from torch import Tensor, nn

from ..data import OWN_ID, Transform
from .embedding_tables import INIT_STD, EmbeddingTable, Table, bag_tables
from .feature_tensors import FeatureRows, dense_columns
from .text_map import TextMap


def table_name(role: str, feature: str) -> str:
    """The name of a feature's embedding table. role: "item" or "user". Torch allows no dot in a module's name."""
    return f"{role}_{feature}".replace(".", "%2E")


class MetadataEncoder(nn.Module):
    """Features to one vector: the mean of each bag's table rows, plus a linear map of the dense numbers and one of
    every text's pretrained vector.

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
        columns = dense_columns(transforms)
        self._plain = [columns[one.name] for one in transforms if one.name in columns and one.encoding is None]
        self._texts = {one.name: columns[one.name] for one in transforms if one.encoding is not None}
        num_dense = sum(part.stop - part.start for part in self._plain)
        self.dense = nn.Linear(num_dense, width, bias=False) if num_dense else None
        self.text_maps = nn.ModuleDict({
            table_name(role, name): TextMap(part.stop - part.start, width) for name, part in self._texts.items()
        })  # fmt: skip
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
            dense = features.dense
            if self.text_maps:
                dense = torch.cat([dense[:, part] for part in self._plain], dim=1)
            parts.append(self.dense(dense.to(self.dense.weight.dtype)))  # serving computes in float64
        for name, part in self._texts.items():
            assert features.dense is not None  # as configured
            parts.append(self.text_maps[table_name(self.role, name)](features.dense[:, part]))
        return torch.stack(parts).sum(dim=0) if parts else None  # in the widest of their dtypes

    def text_maps_by_feature(self) -> dict[str, TextMap]:
        """The maps of pretrained vectors."""
        return {name: self.text_maps[table_name(self.role, name)] for name in self._texts}  # type: ignore[misc]

    def lookups(self, features: FeatureRows) -> list[tuple[EmbeddingTable, Tensor]]:
        """The plain tables, and the distinct rows that ``forward`` reads of each."""
        if features.bags is None or features.bags.rows is None or self.tables is None:
            return []
        tables = (self.tables.embedding_bags[table_name(self.role, name)] for name in features.bags.keys)
        return list(zip(tables, features.bags.rows, strict=True))
