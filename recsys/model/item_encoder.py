"""Vectors of the items that a change concerns: those that changed, and the cold ones that borrow from them.

Shape suffixes: C cold items, M items of a change, T trained items that changed, K neighbours, V the width of a vector.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from ..data import Int64
from .feature_tensors import FeatureRows, FeatureTable
from .trained_metadata import ITEMS_AT_ONCE, NEIGHBOURS, Neighbours, TrainedMetadata, encode_cold, metadata_of
from .two_tower import TwoTower

COSINE_ERROR = 1e-5  # of a cosine in float32: an item is rather encoded once too often

Float32 = npt.NDArray[np.float32]
FeaturesOf = Callable[[Int64], FeatureRows]  # of the items at some positions, on the model's device


@dataclass(frozen=True)
class _ColdItems:
    """What cold items borrow from, in the order of their positions. metadata: [C, V] unit vectors."""

    metadata: Float32
    near: Neighbours

    def affected(self, trained: Int64, metadata_TV: Float32) -> npt.NDArray[np.bool_]:
        """[C] bool: which of them could borrow otherwise once these trained items have such metadata."""
        cosines_CT = self.metadata @ metadata_TV.T
        least_C = np.maximum(self.near.cosines[:, -1], 0) - COSINE_ERROR
        is_near_CT = (cosines_CT > 0) & (cosines_CT >= least_C[:, None])
        return np.logical_or(is_near_CT.any(axis=1), np.isin(self.near.rows, trained).any(axis=1))

    def updated(self, rows: Int64, metadata_MV: Float32, near: Neighbours) -> "_ColdItems":
        """The same with these in some rows; rows beyond the last one are appended."""
        return _ColdItems(
            _updated(self.metadata, rows, metadata_MV),
            Neighbours(_updated(self.near.rows, rows, near.rows), _updated(self.near.cosines, rows, near.cosines)),
        )


@dataclass(frozen=True)
class Encoded:
    """Items that were encoded. positions: [M] ascending. vectors: [M, V]. encoder: for the next change."""

    positions: Int64
    vectors: Float32
    encoder: "ItemEncoder"


@dataclass(frozen=True)
class ItemEncoder:
    """Encodes the items of one catalogue, change after change, as ``encode_catalogue`` would encode all of them.

    trained: the metadata of the trained items. cold: None until a trained item has changed; until then nobody needs to
    know who borrows from whom.
    """

    model: TwoTower
    trained: TrainedMetadata
    cold: _ColdItems | None = None

    @staticmethod
    def of(model: TwoTower, features: FeatureTable) -> "ItemEncoder":
        """Read the features of a catalogue. model: in evaluation mode."""
        return ItemEncoder(model, TrainedMetadata.of(model, features, model.log_temperature.device))

    def encode(self, positions: Int64, num_items: int, features_of: FeaturesOf) -> Encoded:
        """Encode the items that a change concerns.

        Args:
            positions: [n] ascending; the items whose features have changed, and the new ones.
            num_items: Of the catalogue as it is now.
            features_of: As they are now.
        """
        num_rows = self.model.spec.num_rows
        changed, cold = positions[positions < num_rows], positions[positions >= num_rows]
        vectors, encoder = [], self
        if len(changed):
            vectors.append(self._encode_trained(changed, features_of))
            encoder, affected = self._with_trained(changed, features_of)
            cold = np.arange(num_rows, num_items + 1) if affected is None else np.union1d(cold, num_rows + affected)
        for start in range(0, len(cold), step := ITEMS_AT_ONCE // NEIGHBOURS):
            chunk = cold[start : start + step]
            features = features_of(chunk)
            metadata_MV = metadata_of(self.model, features)
            near = encoder.trained.nearest(metadata_MV)
            vectors.append(encode_cold(self.model, features, len(chunk), near).cpu().numpy())
            if encoder.cold is not None:
                encoder = replace(encoder, cold=encoder.cold.updated(chunk - num_rows, metadata_MV, near))
        none = np.empty((0, self.model.spec.served_width), np.float32)
        return Encoded(np.concatenate((changed, cold)), np.concatenate(vectors) if vectors else none, encoder)

    @torch.no_grad()
    def _encode_trained(self, positions: Int64, features_of: FeaturesOf) -> Float32:
        rows = torch.from_numpy(positions).to(self.model.log_temperature.device)
        vectors: Float32 = self.model.encode_items(rows, features_of(positions)).cpu().numpy()
        return vectors

    def _with_trained(self, positions: Int64, features_of: FeaturesOf) -> tuple["ItemEncoder", Int64 | None]:
        """The same after a change of trained items, and the rows of the cold items that it concerns; None: all."""
        metadata_TV = metadata_of(self.model, features_of(positions))
        trained = self.trained.updated(positions, metadata_TV)
        if self.cold is not None:
            return replace(self, trained=trained), np.flatnonzero(self.cold.affected(positions, metadata_TV))
        none = np.empty((0, NEIGHBOURS), np.int32), np.empty((0, NEIGHBOURS), np.float32)
        nobody = _ColdItems(np.empty((0, metadata_TV.shape[1]), np.float32), Neighbours(*none))
        return ItemEncoder(self.model, trained, nobody), None


def _updated(rows_CX: npt.NDArray[np.generic], rows: Int64, values_MX: npt.NDArray[np.generic]) -> npt.NDArray:  # type: ignore[type-arg]
    """A copy with values in some rows, which may be the next after the last one."""
    updated = np.empty((max(len(rows_CX), int(rows[-1]) + 1), *rows_CX.shape[1:]), rows_CX.dtype)
    updated[: len(rows_CX)] = rows_CX
    updated[rows] = values_MX
    return updated
