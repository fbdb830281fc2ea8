"""A bundle whose model is a baseline: an item-item matrix in place of the two towers, their vectors and the index.

manifest.json, items.arrow, encoder.json and counts.npy are those of any bundle; the encoder holds no features.

model.json            the baseline's name and half-life, and where the bundle came from
users.arrow           user_id: the users whom a bundle of two towers from the same training would know
offsets.npy           [num_items + 2] int64: where each row of the matrix begins
neighbours.npy        [entries] int32 catalogue positions
weights.npy           [entries] float32
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from .. import files
from ..data import Encoder, Int64, write_arrow
from ..item_item import ItemItemModel
from .arrays import read_counts, read_entries
from .contents import Contents
from .description import BaselineDescription, Provenance
from .seal import seal
from .tables import read_items, read_users

MEMBERS = frozenset({
    "model.json", "encoder.json", "items.arrow", "users.arrow", "counts.npy", "offsets.npy", "neighbours.npy",
    "weights.npy",
})  # fmt: skip


@dataclass(frozen=True)
class BaselineBundle:
    """Everything that serves a baseline, in memory; the shapes are those of the files."""

    model: ItemItemModel
    encoder: Encoder
    items: pl.DataFrame
    users: pl.DataFrame
    item_counts: Int64
    provenance: Provenance

    def save(self, path: Path) -> str:
        """Write and seal the bundle, whole or not at all, in place of what is at ``path``; return its id."""
        model, entries = self.model, self.model.entries()
        description = BaselineDescription(
            name=model.name, label=model.label, half_life=model.half_life, provenance=self.provenance
        )
        with files.replacing(path, directory=True) as folder:
            files.write_json(folder / "model.json", description.model_dump(mode="json"))
            self.encoder.write(folder / "encoder.json")
            write_arrow(self.items, folder / "items.arrow")
            write_arrow(self.users, folder / "users.arrow")
            np.save(folder / "counts.npy", self.item_counts)
            for name, values in vars(entries).items():
                np.save(folder / f"{name}.npy", values)
            return seal(folder)

    @staticmethod
    def load(contents: Contents, description: BaselineDescription) -> "BaselineBundle":
        """Load a verified bundle. Raises BundleError if a member does not fit the others."""
        contents.require(MEMBERS)
        items, encoder = read_items(contents)
        entries = read_entries(contents, encoder.num_items)
        return BaselineBundle(
            model=ItemItemModel.of(description.name, description.label, description.half_life, entries),
            encoder=encoder,
            items=items,
            users=read_users(contents, encoder),
            item_counts=read_counts(contents, encoder.num_items),
            provenance=description.provenance,
        )
