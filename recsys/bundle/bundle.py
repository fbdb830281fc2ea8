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

Where the model reads texts, the members of lexical_members.py, too.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from safetensors.torch import save_file

from .. import files
from ..data import Encoder, Int64, write_arrow
from ..lexical import LexicalIndex
from ..model import FeatureTable, ModelSpec, TwoTower
from ..search import AnyIndex, ItemIndex, choose_device, require_device, whole
from ..text_encoders import EncodeTexts, encoder_functions
from .arrays import load_weights, read_counts, read_vectors
from .baseline_bundle import BaselineBundle
from .contents import Contents
from .description import BaselineDescription, Description, Provenance, TextWeights, parse_description
from .lexical_members import LEXICAL_MEMBERS, read_lexical, read_user_texts, write_lexical
from .seal import seal
from .tables import check_features, read_items, read_table, read_users

MEMBERS = frozenset({
    "model.json", "encoder.json", "weights.safetensors", "items.arrow", "features.arrow", "users.arrow", "counts.npy",
    "vectors.npy", "index.faiss",
})  # fmt: skip


@dataclass(frozen=True)
class Bundle:
    """Everything that serves, in memory; the shapes are those of the files.

    text_weights, lexical: None where the model reads no text, and where an earlier release sealed the bundle.
    user_texts: what the text columns of each user say; None where users have none.
    """

    model: TwoTower
    encoder: Encoder
    items: pl.DataFrame
    item_features: pl.DataFrame
    users: pl.DataFrame
    item_counts: Int64
    item_vectors: npt.NDArray[np.float32]
    index: AnyIndex
    provenance: Provenance
    text_weights: TextWeights | None = None
    lexical: LexicalIndex | None = None
    user_texts: pl.Series | None = None

    @property
    def mixes_words_for_users(self) -> bool:
        """Whether users of whom only a text is known are recommended to by words, too."""
        return self.lexical is not None and self.text_weights is not None and self.text_weights.words_of_users > 0

    def texts_of_users(self) -> pl.Series:
        """[num_users] String, null where a user has no text."""
        if self.user_texts is not None:
            return self.user_texts
        return pl.repeat(None, self.users.height, dtype=pl.String, eager=True)

    def texts_of(self, rows: Int64) -> list[str | None]:
        """[Q] what the text columns of users say, by their rows, 0 for an unknown one; None where they say nothing."""
        unknown = pl.Series([None], dtype=pl.String)
        return pl.concat([unknown, self.texts_of_users()]).gather(rows).to_list()

    def user_features(self) -> FeatureTable:
        """The users' metadata: row 0 is the unknown user, row ``i + 1`` is ``users[i]``."""
        return FeatureTable.of_users(self.model.spec, self.users)


def save_bundle(bundle: Bundle, path: Path) -> str:
    """Write and seal a bundle, whole or not at all, in place of what is at ``path``; return its id."""
    index = whole(bundle.index)
    with files.replacing(path, directory=True) as folder:
        description = Description(
            model=bundle.model.spec.to_json(),
            index=index.spec,
            provenance=bundle.provenance,
            text_weights=bundle.text_weights,
            stopwords=None if bundle.lexical is None else bundle.lexical.stopwords,
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
        index.save(folder / "index.faiss")
        if bundle.lexical is not None:
            write_lexical(bundle.lexical, bundle.texts_of_users(), folder)
        return seal(folder)


AnyBundle = Bundle | BaselineBundle


def load_bundle(
    path: Path,
    expected_id: str | None = None,
    device: str = "cpu",
    *,
    mapped: bool = False,
    encoders: Mapping[str, EncodeTexts] | None = None,
) -> tuple[AnyBundle, str]:
    """Verify and load a bundle of either kind; return it and its id.

    Args:
        path: The bundle's folder.
        expected_id: As for ``verify``.
        device: Where vectors are computed and searched: "cpu", "cuda", or "auto" for cuda where there is one.
        mapped: Map the files rather than read them, so that all processes on a machine that load this bundle share its
            memory. Only for a folder whose files nobody shortens or writes to: a process whose mapped file is cut is
            killed. To put another folder in its place is safe.
        encoders: Functions that encode text, by the names that the bundle has for them. Others never run: what needs
            them is refused.

    Raises:
        BundleError: As ``verify`` does, or a member does not fit the others, even if the seal is right.
        InputError: There is no such device, or it cannot search the bundle's index.
    """
    functions = encoder_functions(encoders)
    choose_device(device)  # an impossible device is no fault of the bundle
    contents = Contents(path, expected_id, mapped=mapped)
    with contents.member("model.json") as content:
        description = parse_description(content.tobytes())
    if isinstance(description, BaselineDescription):
        return BaselineBundle.load(contents, description), contents.bundle_id
    require_device(device, description.index.kind)
    bundle = _load_towers(contents, description, device)
    return replace(bundle, encoder=bundle.encoder.with_functions(functions)), contents.bundle_id


def _load_towers(contents: Contents, description: Description, device: str) -> Bundle:
    contents.require(MEMBERS if description.stopwords is None else MEMBERS | LEXICAL_MEMBERS)
    items, encoder = read_items(contents)
    with contents.blamed("model.json"):
        spec = ModelSpec.from_json(description.model, encoder)
        with torch.device("meta"):  # nothing is allocated for weights that the bundle may not have
            model = TwoTower(spec)
    with contents.member("weights.safetensors") as content:
        load_weights(model, content)
    with contents.member("features.arrow") as content:
        item_features = read_table(content)
        check_features(item_features, encoder)
    with contents.member("vectors.npy") as content:
        vectors = read_vectors(content, encoder.num_items, spec.served_width)
    with contents.member("index.faiss") as content:
        index = ItemIndex.load(content, vectors, description.index, device=device)
    users = read_users(contents, encoder)
    lexical, user_texts = None, None
    if description.stopwords is not None:
        lexical = read_lexical(contents, encoder.num_items, description.stopwords)
        user_texts = read_user_texts(contents, users.height)
    return Bundle(
        model=model.eval().requires_grad_(False),
        encoder=encoder,
        items=items,
        item_features=item_features,
        users=users,
        item_counts=read_counts(contents, encoder.num_items),
        item_vectors=vectors,
        index=index,
        provenance=description.provenance,
        text_weights=description.text_weights,
        lexical=lexical,
        user_texts=user_texts,
    )
