"""The bundle: one sealed folder that serves. Every byte is verified before anything is parsed; nothing is a pickle.

manifest.json         format, bundle_id, sha256 of every other file, and the manifest's own digest; written last
model.json            the model's shape, the index's parameters, where the bundle came from
encoder.json          fitted transforms and the log's column names
weights.safetensors   both towers
items.arrow           item_id and the raw metadata, in catalogue order: filters and titles
features.arrow        the encoded item features, in catalogue order
users.arrow           user_id and the encoded user features
counts.npy            [num_items + 1] int64 training events by catalogue position: the popularity fallback
vectors.npy           [num_items + 1, D] float32 item vectors by catalogue position
index.faiss           the index over them
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
from safetensors.torch import load_file, save_file

from .. import files
from ..data import Encoder, Int64, read_arrow, write_arrow
from ..model import FeatureTable, ModelSpec, TwoTower
from ..search import ItemIndex
from .baseline_bundle import BaselineBundle
from .description import BaselineDescription, Description, Provenance, read_description
from .seal import seal, verify


@dataclass(frozen=True)
class Bundle:
    """Everything that serves, in memory; the shapes are those of the files."""

    model: TwoTower
    encoder: Encoder
    items: pl.DataFrame
    item_features: pl.DataFrame
    users: pl.DataFrame
    item_counts: Int64
    item_vectors: npt.NDArray[np.float32]
    index: ItemIndex
    provenance: Provenance

    def user_features(self) -> FeatureTable:
        """The users' metadata: row 0 is the unknown user, row ``i + 1`` is ``users[i]``."""
        return FeatureTable.from_frame(self.encoder.user_transforms, self.users)


def save_bundle(bundle: Bundle, path: Path) -> str:
    """Write and seal a bundle, whole or not at all, in place of what is at ``path``; return its id."""
    with files.replacing(path, directory=True) as folder:
        description = Description(
            model=bundle.model.spec.to_json(), index=bundle.index.spec, provenance=bundle.provenance
        )
        files.write_json(folder / "model.json", description.model_dump(mode="json"))
        bundle.encoder.write(folder / "encoder.json")
        weights = {name: value.detach().cpu().contiguous() for name, value in bundle.model.state_dict().items()}
        save_file(weights, folder / "weights.safetensors")
        write_arrow(bundle.items, folder / "items.arrow")
        write_arrow(bundle.item_features, folder / "features.arrow")
        write_arrow(bundle.users, folder / "users.arrow")
        np.save(folder / "counts.npy", bundle.item_counts)
        np.save(folder / "vectors.npy", bundle.item_vectors)
        bundle.index.save(folder / "index.faiss")
        return seal(folder)


AnyBundle = Bundle | BaselineBundle


def load_bundle(path: Path, *, expected_id: str | None = None, device: str = "cpu") -> tuple[AnyBundle, str]:
    """Verify and load a bundle of either kind; return it and its id.

    Args:
        path: The bundle's folder.
        expected_id: As for ``verify``.
        device: Where the index searches: "cpu", "cuda", or "auto" for cuda where there is one.

    Raises:
        BundleError: As ``verify`` does.
    """
    bundle_id = verify(path, expected_id)
    description = read_description(path)
    if isinstance(description, BaselineDescription):
        return BaselineBundle.load(path, description), bundle_id
    return _load_towers(path, description, device), bundle_id


def _load_towers(path: Path, description: Description, device: str) -> Bundle:
    items = read_arrow(path / "items.arrow")
    encoder = Encoder.read(path / "encoder.json", items.get_column("item_id"))
    model = TwoTower(ModelSpec.from_json(description.model, encoder))
    model.load_state_dict(load_file(path / "weights.safetensors"))
    vectors = np.load(path / "vectors.npy", mmap_mode="c", allow_pickle=False)  # torch refuses read-only arrays
    return Bundle(
        model=model.eval().requires_grad_(False),
        encoder=encoder,
        items=items,
        item_features=read_arrow(path / "features.arrow"),
        users=read_arrow(path / "users.arrow"),
        item_counts=np.load(path / "counts.npy", allow_pickle=False),
        item_vectors=vectors,
        index=ItemIndex.load(path / "index.faiss", vectors, description.index, device=device),
        provenance=description.provenance,
    )
