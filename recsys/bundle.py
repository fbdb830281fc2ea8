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

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import BaseModel, JsonValue
from safetensors.torch import load_file, save_file

from . import files
from .data import Encoder, Int64, read_arrow, write_arrow
from .errors import BundleError
from .model import FeatureTable, ModelSpec, TwoTower
from .search import IndexSpec, ItemIndex

FORMAT = 6


class Provenance(BaseModel, frozen=True):
    """Where a bundle came from: a training of the same provenance gives the same bundle.

    recsys: the release that made it. training: digests that identify the training. epoch: the one whose weights serve.
    features, split, index: these sections of the training's configuration.
    """

    recsys: str
    training: dict[str, str]
    epoch: int
    features: dict[str, JsonValue]
    split: dict[str, JsonValue]
    index: dict[str, JsonValue]


class Manifest(BaseModel, frozen=True):
    """What seals a bundle. bundle_id: the digest of ``members``, which are file names with their sha256."""

    format: int
    bundle_id: str
    members: dict[str, str]

    @staticmethod
    def of(folder: Path) -> "Manifest":
        """The manifest for the files in ``folder``."""
        members = {member.name: files.sha256(member) for member in sorted(folder.iterdir())}
        return Manifest(format=FORMAT, bundle_id=files.digest(members), members=members)


class Description(BaseModel, frozen=True):
    """The content of model.json. model: the fields of ModelSpec, without the transforms, which the encoder stores."""

    model: dict[str, JsonValue]
    index: IndexSpec
    provenance: Provenance


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
        manifest = Manifest.of(folder)
        (folder / "manifest.json").write_bytes(sealed(manifest.model_dump()))
    return manifest.bundle_id


def sealed(manifest: dict[str, JsonValue]) -> bytes:
    """The only bytes that a manifest.json with this content may have: keys sorted, its own digest added."""
    return (json.dumps(manifest | {"digest": files.digest(manifest)}, indent=2, sort_keys=True) + "\n").encode()


def read_provenance(path: Path) -> Provenance:
    """Where the verified bundle at ``path`` came from."""
    return _read_description(path).provenance


def verify(path: Path) -> str:
    """Check every byte of a bundle against its manifest, and return the bundle's id.

    Raises:
        BundleError: A file was changed, is missing or does not belong to the bundle, or the bundle is unfinished or of
            another format.
    """
    manifest = _read_manifest(path)
    present = {member.name for member in path.iterdir()} - {"manifest.json"}
    for name in sorted(present ^ set(manifest.members)):
        fault = "does not belong to it; remove it" if name in present else "is missing; fetch or publish it again"
        raise BundleError(f"bundle {path}: {name} {fault}")
    for name, expected in manifest.members.items():
        if not (path / name).is_file() or files.sha256(path / name) != expected:
            raise BundleError(f"bundle {path}: {name} was changed after it was sealed; fetch or publish it again")
    return manifest.bundle_id


def load_bundle(path: Path, *, device: str = "cpu") -> tuple[Bundle, str]:
    """Verify and load a bundle; return it and its id.

    Args:
        path: The bundle's folder.
        device: Where the index searches: "cpu", "cuda", or "auto" for cuda where there is one.

    Raises:
        BundleError: As ``verify`` does.
    """
    bundle_id = verify(path)
    description = _read_description(path)
    items = read_arrow(path / "items.arrow")
    encoder = Encoder.read(path / "encoder.json", items.get_column("item_id"))
    model = TwoTower(ModelSpec.from_json(description.model, encoder))
    model.load_state_dict(load_file(path / "weights.safetensors"))
    vectors = np.load(path / "vectors.npy", mmap_mode="c", allow_pickle=False)  # torch refuses read-only arrays
    bundle = Bundle(
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
    return bundle, bundle_id


def _read_manifest(path: Path) -> Manifest:
    source = path / "manifest.json"
    if not source.is_file():
        raise BundleError(f"no bundle at {path}; expected a folder with manifest.json, as `recsys publish` writes it")
    content = source.read_bytes()
    try:
        manifest = json.loads(content)
        manifest.pop("digest")
        intact = content == sealed(manifest)
        bundle_format = manifest["format"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        intact = False
    if not intact:
        raise BundleError(f"bundle {path}: manifest.json was changed after it was sealed; fetch or publish it again")
    if bundle_format != FORMAT:
        remedy = "upgrade recsys" if bundle_format > FORMAT else "publish it again"
        raise BundleError(f"bundle {path} has format {bundle_format}, this release reads {FORMAT}: {remedy}")
    return Manifest.model_validate(manifest)


def _read_description(path: Path) -> Description:
    return Description.model_validate(files.read_json(path / "model.json"))
