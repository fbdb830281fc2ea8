"""The item tower: from an id and features to a vector.

Shape suffixes: M items, N neighbours, K members, V the width of a vector, num_members * D.
"""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .embedding_tables import INIT_STD, Table, id_tables
from .feature_tensors import FeatureRows, id_rows
from .kernels import first_where
from .metadata_encoder import MetadataEncoder
from .model_spec import ModelSpec


@dataclass(frozen=True)
class BorrowedIds:
    """The trained items whose id embeddings are added to cold items' vectors.

    rows: [M, N] int64 rows of the item table. weights: [M, N] float32.
    """

    rows: Tensor
    weights: Tensor


class ItemTower(nn.Module):
    """Id embedding plus features. The vectors of all members stand side by side in one table.

    Id dropout teaches the tower to place an item by its features alone, as it must place a cold item.
    """

    def __init__(self, spec: ModelSpec, *, torchrec: bool = False) -> None:
        super().__init__()
        self.torchrec = torchrec
        self.num_members, self.id_dropout = spec.num_members, spec.id_dropout
        self.ids = id_tables([Table("item", "id", spec.num_rows, spec.width)], torchrec=torchrec)
        nn.init.normal_(self.ids.embeddings["item"].weight, std=INIT_STD)
        self.metadata = MetadataEncoder(spec.item_transforms, spec.width, "item", torchrec=torchrec)

    def forward(self, rows_M: Tensor, features: FeatureRows, borrowed: BorrowedIds | None = None) -> Tensor:
        """The items' vectors, [M, V].

        Args:
            rows_M: int64 rows of the item table, 0 for a cold item. In training they are distinct, and the first is 0.
            features: of these items.
            borrowed: the id embeddings that cold items borrow.
        """
        return self.combined(rows_M, self.metadata(features), borrowed)

    def combined(self, rows_M: Tensor, metadata_MV: Tensor | None, borrowed: BorrowedIds | None = None) -> Tensor:
        """``forward``, from what the features add: all that counts if no id is ever read."""
        if self.id_dropout == 1:
            assert metadata_MV is not None  # as the recipe makes sure
            return metadata_MV
        vectors_MV = self._look_up(rows_M)
        if self.training and self.id_dropout:
            vectors_MV = self._drop_ids(vectors_MV)
        if borrowed is not None:
            ids_MNV = self._look_up(borrowed.rows.flatten()).view(*borrowed.rows.shape, -1)
            vectors_MV = vectors_MV + (ids_MNV * borrowed.weights.unsqueeze(-1)).sum(dim=1)
        return vectors_MV if metadata_MV is None else vectors_MV + metadata_MV

    def without_ids(self) -> "ItemTower":
        """A copy that shares the weights for features, and can compute nothing else."""
        shallow = copy.copy(self)
        shallow._modules = self._modules | {"ids": None}
        return shallow

    def _drop_ids(self, vectors_MV: Tensor) -> Tensor:
        """Give some items the vector of row 0, drawn for each member."""
        vectors_MKD = vectors_MV.view(len(vectors_MV), self.num_members, -1)
        dropped_MK = torch.rand(vectors_MKD.shape[:2], device=vectors_MV.device) < self.id_dropout
        return first_where(dropped_MK.unsqueeze(2), vectors_MKD).flatten(1)

    def _look_up(self, rows_M: Tensor) -> Tensor:
        if not self.torchrec:
            return self.ids.look_up("id", rows_M)  # type: ignore[no-any-return]  # either kind of table
        vectors_MV: Tensor = self.ids(id_rows(rows_M).to_torchrec())["id"].values()
        return vectors_MV
