"""Trained items by their metadata: those whose id embeddings a cold item borrows.

Shape suffixes: T trained items with 0 among them, M items of a chunk, U distinct ones, K neighbours, V the width of a
vector.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..data import Int64
from ..search import AnyIndex, FreshIndex, ItemIndex
from .feature_tensors import FeatureRows, FeatureTable
from .item_tower import BorrowedIds
from .two_tower import TwoTower

ITEMS_AT_ONCE = 1 << 16
NEIGHBOURS = 10  # trained items whose ids a cold item borrows; 5 to 15 are equally good on amazon-beauty


@dataclass(frozen=True)
class Neighbours:
    """The trained items with the most similar metadata. rows: [M, K] positions. cosines: [M, K] float32, descending."""

    rows: npt.NDArray[np.int32]
    cosines: npt.NDArray[np.float32]

    def borrowed(self, device: torch.device) -> BorrowedIds:
        """What cold items borrow from them: weights are cosine / K.

        So an item unlike all others borrows little, and one without metadata nothing.
        """
        weights_MK = np.maximum(self.cosines, 0) / NEIGHBOURS
        return BorrowedIds(
            torch.from_numpy(self.rows.astype(np.int64)).to(device), torch.from_numpy(weights_MK).to(device)
        )


@dataclass(frozen=True)
class TrainedMetadata:
    """An index of the trained items' metadata, [T, V] unit vectors by position."""

    index: AnyIndex
    vectors: npt.NDArray[np.float32]

    @staticmethod
    @torch.no_grad()
    def of(model: TwoTower, features: FeatureTable, device: torch.device) -> "TrainedMetadata":
        """Encode the metadata of all trained items. features: of the catalogue, by position."""
        starts = range(0, model.spec.num_rows, ITEMS_AT_ONCE)
        chunks = (np.arange(start, min(start + ITEMS_AT_ONCE, model.spec.num_rows)) for start in starts)
        vectors = np.concatenate([metadata_of(model, features.take(chunk).to(device)) for chunk in chunks])
        return TrainedMetadata(ItemIndex.build(vectors, kind="exact", device=device.type), vectors)

    def updated(self, positions: Int64, vectors_MV: npt.NDArray[np.float32]) -> "TrainedMetadata":
        """The same after the metadata of some trained items has changed to these vectors."""
        vectors = self.vectors.copy()
        vectors[positions] = vectors_MV
        index = FreshIndex.after(self.index, vectors, positions)
        return TrainedMetadata(index.folded() if index.is_large else index, vectors)

    def nearest(self, metadata_MV: npt.NDArray[np.float32]) -> Neighbours:
        """The NEIGHBOURS trained items that are most similar to each of these unit vectors."""
        distinct_UV, distinct_M = np.unique(metadata_MV, axis=0, return_inverse=True)
        rows_UK, cosine_UK = self.index.search(distinct_UV, NEIGHBOURS)
        return Neighbours(rows_UK[distinct_M], cosine_UK[distinct_M])


@torch.no_grad()
def metadata_of(model: TwoTower, features: FeatureRows) -> npt.NDArray[np.float32]:
    """The unit vectors [M, V] of items' metadata."""
    vectors: Tensor = model.encode_metadata(features)
    metadata: npt.NDArray[np.float32] = vectors.float().cpu().numpy()
    return metadata


@torch.no_grad()
def encode_cold(model: TwoTower, features: FeatureRows, num_items: int, near: Neighbours | None) -> Tensor:
    """The vectors [M, V] of cold items. num_items: M. near: whose ids they borrow; None: nobody's."""
    device = model.log_temperature.device
    unknown_M = torch.zeros(num_items, dtype=torch.int64, device=device)
    return model.encode_items(unknown_M, features, None if near is None else near.borrowed(device))
