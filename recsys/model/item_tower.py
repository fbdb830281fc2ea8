"""The item tower: from an id and features to a vector.

Shape suffixes: M items, K neighbours, D embedding_dim.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .embedding_tables import Table, id_tables
from .feature_tensors import FeatureRows, id_rows
from .metadata_encoder import INIT_STD, MetadataEncoder
from .model_spec import ModelSpec


@dataclass(frozen=True)
class BorrowedIds:
    """The trained items whose id embeddings are added to cold items' vectors.

    rows: [M, K] int64 rows of the item table. weights: [M, K] float32.
    """

    rows: Tensor
    weights: Tensor


class ItemTower(nn.Module):
    """Id embedding plus features.

    Id dropout teaches the tower to place an item by its features alone, as it must place a cold item.
    """

    def __init__(self, spec: ModelSpec, *, torchrec: bool = False) -> None:
        super().__init__()
        self.torchrec = torchrec
        self.id_dropout = spec.id_dropout
        self.ids = id_tables([Table("item", "id", spec.num_rows, spec.embedding_dim)], torchrec=torchrec)
        nn.init.normal_(self.ids.embeddings["item"].weight, std=INIT_STD)
        self.metadata = MetadataEncoder(spec.item_transforms, spec.embedding_dim, "item", torchrec=torchrec)

    def forward(self, rows_M: Tensor, features: FeatureRows, borrowed: BorrowedIds | None = None) -> Tensor:
        """The items' vectors, [M, D].

        Args:
            rows_M: int64 rows of the item table, 0 for a cold item.
            features: of these items.
            borrowed: the id embeddings that cold items borrow.
        """
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
