"""The bundle: one sealed directory that serves. Verified before anything in it is parsed; never a pickle.

manifest.json         format, bundle_id, sha256 of every member, and the manifest's own digest; written last
model.json            the model's shape, the index's parameters, where it came from
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
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from safetensors.torch import load_file, save_file

from . import files
from .data import OWN_ID, Encoder, Int64, encode_features, read_metadata, read_table, with_own_id, write_table
from .errors import InputError
from .model import FeatureTable, ModelSpec, TwoTower, encode_catalogue
from .search import IndexSpec, ItemIndex

FORMAT = 6


@dataclass(frozen=True)
class Bundle:
    """Everything that serves, in memory. provenance: dataset digest and settings that made it."""

    model: TwoTower
    encoder: Encoder
    items: pl.DataFrame
    item_features: pl.DataFrame
    users: pl.DataFrame
    item_counts: Int64
    item_vectors: npt.NDArray[np.float32]
    index: ItemIndex
    provenance: dict[str, Any]

    def user_features(self) -> FeatureTable:
        """The users' metadata, row 0 unknown; row ``i + 1`` is ``users[i]``."""
        return FeatureTable.from_frame(self.encoder.user_transforms, self.users)


def save_bundle(bundle: Bundle, path: Path) -> str:
    """Write and seal a bundle, all or nothing; returns its id. What stood at ``path`` is replaced."""
    with files.replacing(path, directory=True) as folder:
        description = {
            "model": bundle.model.spec.to_json(),
            "index": asdict(bundle.index.spec),
            "provenance": bundle.provenance,
        }
        files.write_json(folder / "model.json", description)
        bundle.encoder.write(folder / "encoder.json")
        weights = {name: value.detach().cpu().contiguous() for name, value in bundle.model.state_dict().items()}
        save_file(weights, folder / "weights.safetensors")
        write_table(bundle.items, folder / "items.arrow")
        write_table(bundle.item_features, folder / "features.arrow")
        write_table(bundle.users, folder / "users.arrow")
        np.save(folder / "counts.npy", bundle.item_counts)
        np.save(folder / "vectors.npy", bundle.item_vectors)
        bundle.index.save(folder / "index.faiss")
        members = {member.name: files.sha256(member) for member in sorted(folder.iterdir())}
        manifest = {"format": FORMAT, "bundle_id": files.digest(members), "members": members}
        (folder / "manifest.json").write_bytes(_sealed(manifest))
    return str(manifest["bundle_id"])


def _sealed(manifest: dict[str, Any]) -> bytes:
    """The manifest's only valid bytes: with its own digest, keys sorted."""
    return (json.dumps(manifest | {"digest": files.digest(manifest)}, indent=2, sort_keys=True) + "\n").encode()


def verify(path: Path) -> str:
    """Check every byte of a bundle against its manifest and return the bundle's id.

    Raises InputError on a changed, missing or foreign member, an unfinished bundle, or another format.
    """
    source = path / "manifest.json"
    if not source.is_file():
        raise InputError(f"no bundle at {path}; expected a folder with manifest.json, as `recsys publish` writes it")
    content = source.read_bytes()
    try:
        manifest = json.loads(content)
        manifest.pop("digest")
        intact = content == _sealed(manifest)
    except (ValueError, KeyError, TypeError, AttributeError):
        intact = False
    if not intact:
        raise InputError(f"bundle {path}: manifest.json was changed after it was sealed; fetch or publish it again")
    if manifest["format"] != FORMAT:
        remedy = "upgrade recsys" if manifest["format"] > FORMAT else "publish it again"
        raise InputError(f"bundle {path} has format {manifest['format']}, this release reads {FORMAT}: {remedy}")
    found = {member.name for member in path.iterdir()} - {"manifest.json"}
    for name in sorted(found ^ set(manifest["members"])):
        state = "does not belong to it; remove it" if name in found else "is missing; fetch or publish the bundle again"
        raise InputError(f"bundle {path}: {name} {state}")
    for name, expected in manifest["members"].items():
        if not (path / name).is_file() or files.sha256(path / name) != expected:
            raise InputError(f"bundle {path}: {name} was changed after it was sealed; fetch or publish it again")
    return str(manifest["bundle_id"])


def load_bundle(path: Path, *, device: str = "cpu") -> tuple[Bundle, str]:
    """Verify and load a bundle; returns it and its id. device: where the index searches ("cpu", "cuda", "auto")."""
    bundle_id = verify(path)
    description = files.read_json(path / "model.json")
    items = read_table(path / "items.arrow")
    encoder = Encoder.read(path / "encoder.json", items.get_column("item_id"))
    spec = ModelSpec(
        **description["model"], item_transforms=encoder.item_transforms, user_transforms=encoder.user_transforms
    )
    model = TwoTower(spec)
    model.load_state_dict(load_file(path / "weights.safetensors"))
    vectors = np.load(path / "vectors.npy", mmap_mode="c", allow_pickle=False)  # torch takes no read-only one
    counts = np.load(path / "counts.npy", allow_pickle=False)
    index = ItemIndex.load(path / "index.faiss", vectors, IndexSpec(**description["index"]), device=device)
    bundle = Bundle(
        model.eval().requires_grad_(False),
        encoder,
        items,
        read_table(path / "features.arrow"),
        read_table(path / "users.arrow"),
        counts,
        vectors,
        index,
        description["provenance"],
    )
    return bundle, bundle_id


def with_metadata(bundle: Bundle, *, items: str | None = None, users: str | None = None, device: str = "cpu") -> Bundle:
    """The bundle with today's metadata: item vectors and index are made anew, in memory; nothing on disk changes.

    items, users: Parquet metadata under the id column's name in the log. Known items keep their position and their id
    row; where the model reads item features, others are appended, sorted by id, as cold items. A row of the metadata
    replaces the bundle's, column by column; items, users and columns it does not have stay as they are. Raises
    InputError on metadata that does not fit.
    """
    if users is not None:
        bundle = replace(bundle, users=_newer_users(bundle, users))
    if items is None:
        return bundle
    encoder = bundle.encoder
    catalogue = _newer_items(bundle, items)
    encoder = replace(encoder, item_ids=catalogue.get_column("item_id"))
    item_features = encode_features(encoder.item_transforms, catalogue)
    table = FeatureTable.from_frame(encoder.item_transforms, item_features)
    vectors = encode_catalogue(bundle.model, table, encoder.num_items, torch.device("cpu")).numpy()
    spec = bundle.index.spec
    index = ItemIndex.build(vectors, kind=spec.kind, target_recall=spec.target_recall or 1.0, device=device)
    counts = np.pad(bundle.item_counts, (0, len(vectors) - len(bundle.item_counts)))
    return replace(
        bundle, encoder=encoder, items=catalogue, item_features=item_features, item_counts=counts,
        item_vectors=vectors, index=index,
    )  # fmt: skip


def _newer_users(bundle: Bundle, location: str) -> pl.DataFrame:
    column, transforms = bundle.encoder.columns["user_id"] or "user_id", bundle.encoder.user_transforms
    dtype = bundle.users.schema["user_id"]
    given = tuple(transform for transform in transforms if transform.name != OWN_ID.name)
    table = with_own_id(read_metadata(location, column, "user_id", dtype, given).table)
    newer = pl.DataFrame([table.get_column("user_id"), *encode_features(transforms, table)])
    return pl.concat([newer, bundle.users.join(newer, on="user_id", how="anti")])


def _newer_items(bundle: Bundle, location: str) -> pl.DataFrame:
    """item_id and raw metadata, known items in catalogue order, then new ones."""
    encoder, old = bundle.encoder, bundle.items
    column, transforms = encoder.columns["item_id"] or "item_id", encoder.item_transforms
    new = read_metadata(location, column, "item_id", encoder.item_ids.dtype, transforms).table
    try:
        new = new.cast({name: dtype for name, dtype in old.schema.items() if name in new.columns})
    except pl.exceptions.PolarsError as error:
        raise InputError(
            f"items at {location} do not fit the bundle's metadata: {str(error).splitlines()[0]}"
        ) from error
    kept = old.join(new, on="item_id", how="anti")
    new = new.join(old.select("item_id", pl.exclude(new.columns)), on="item_id", how="left")
    fresh = new.join(old, on="item_id", how="anti").get_column("item_id").sort()
    ids = pl.concat([encoder.item_ids, fresh]) if transforms else encoder.item_ids
    rows = pl.concat([kept, new], how="diagonal").select(*old.columns, pl.exclude(old.columns))
    return ids.to_frame().join(rows, on="item_id", how="left", maintain_order="left")
