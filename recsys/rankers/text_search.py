"""Finds items by a text: what the text says is compared with what the items' texts say.

An item's vector is mostly its id, which a text knows nothing of. So a text is compared with a vector of each item's
texts alone, by the same weights: an item's own title finds it whatever was clicked. What clicks taught is a second
opinion, by a weight that was chosen at publishing. Both are cosines with the same vector of the query, so their sum is
one inner product with a sum of vectors, and one index finds the best. BM25, which is exact about words, has a share.

Where a query gives other columns too, it is compared with vectors of the texts and these columns, and of nothing else:
what one side leaves blank tells nothing about the other.

The vectors are computed when they are first asked for, and not stored in the bundle (docs/LOG.md has the times): most
bundles are never searched by text, and newer items would need them computed again anyway.

Where a bundle's vectors are cut (``index.dimensions``), those of texts stay whole.

Shape suffixes: Q queries, K answers, N catalogue positions with 0 among them, V the width of a vector.
"""

from collections.abc import Sequence
from functools import cached_property
from threading import Lock

import numpy as np
import torch

from ..bundle import Bundle, TextWeights
from ..lexical import HybridIndex
from ..model import ColumnUpdate, FeatureTable, metadata_vectors
from ..search import ItemIndex, unit_rows
from ..text_queries import TextReader
from .ranker import Bool, Float32, Top

OLDER = TextWeights(clicks=0.05)  # of bundles that were sealed without
KEPT = 1  # indexes of other columns that are kept: each takes as much memory as the item vectors


class TextSearch:
    """Search by text over a bundle's items. Safe to share between threads."""

    def __init__(self, bundle: Bundle) -> None:
        """Raises InputError if the model reads no text."""
        self._bundle = bundle
        self._reader = TextReader(bundle.encoder.item_transforms, bundle.items)
        self._indexes: dict[frozenset[str], HybridIndex] = {}
        self._lock = Lock()

    def prepared(self) -> "TextSearch":
        """The same with the index of texts made, so that no request waits for it."""
        self._index(self._reader.names)
        return self

    def closest(self, texts: Sequence[str], updates: Sequence[ColumnUpdate], *, k: int, allowed: Bool | None) -> Top:
        """The ``k`` best items for each text. updates: other columns of the items that are sought, by row of a text."""
        positions_QK, scores_QK = np.zeros((len(texts), k), np.int32), np.full((len(texts), k), -np.inf, np.float32)
        if not len(texts):
            return Top(positions_QK, scores_QK)
        queries = self._reader.read(texts, updates)
        for given in dict.fromkeys(queries.given):
            if given:
                rows = np.array([row for row, names in enumerate(queries.given) if names == given])
                vectors, asked = (
                    metadata_vectors(self._bundle.model, queries.features, rows),
                    [texts[row] for row in rows],
                )
                positions_QK[rows], scores_QK[rows] = self._index(given).search(vectors, asked, k, allowed=allowed)
        return Top(positions_QK, scores_QK, reasons=queries.reasons)

    def encode(self, texts: Sequence[str]) -> Float32:
        """[Q, V] the vectors by which texts are compared, of length 1; zeros where nothing of a text is known."""
        return metadata_vectors(self._bundle.model, self._reader.read(texts).features, np.arange(len(texts)))

    def opinions(self, texts: Sequence[str]) -> tuple[Float32, Float32]:
        """[Q, N] twice: the cosines of texts with the items' texts, and with what clicks taught of the items."""
        vectors = self.encode(texts)
        return vectors @ self._of_texts.T, vectors @ self._of_clicks.T

    def _index(self, given: frozenset[str]) -> HybridIndex:
        """The index for queries that say something of these features."""
        with self._lock:
            if given not in self._indexes:
                others = [names for names in self._indexes if names != self._reader.names]
                for names in others[: len(others) + 1 - KEPT]:
                    del self._indexes[names]
                vectors = self._vectors(given)
                index = ItemIndex.build(vectors, kind="exact", device=self._bundle.index.device)
                words = (self._bundle.text_weights or OLDER).words
                self._indexes[given] = HybridIndex(index, vectors, self._bundle.lexical, words)
            return self._indexes[given]

    def _vectors(self, given: frozenset[str]) -> Float32:
        """[N, V] what queries that say something of these features are multiplied with."""
        share = (self._bundle.text_weights or OLDER).clicks
        vectors_NV = self._described(given)
        if share:
            vectors_NV *= 1 - share
            vectors_NV += share * self._taught()
        return vectors_NV

    def _described(self, given: frozenset[str]) -> Float32:
        """[N, V] what these features alone say of each item, scaled to length 1."""
        bundle, transforms = self._bundle, self._bundle.encoder.item_transforms
        features = FeatureTable.from_frame(transforms, bundle.item_features).only(given, transforms)
        vectors_NV = metadata_vectors(bundle.model, features, np.arange(bundle.encoder.num_items + 1))
        vectors_NV[0] = 0
        return vectors_NV

    @cached_property
    def _of_texts(self) -> Float32:
        return self._described(self._reader.names)

    def _taught(self) -> Float32:
        """[N, V] what clicks taught of each item, scaled to length 1."""
        vectors = unit_rows(self._bundle.item_vectors)
        if self._bundle.model.spec.dimensions is None:
            return vectors
        lifted: Float32 = self._bundle.model.lift(torch.from_numpy(vectors)).numpy()
        return lifted

    @cached_property
    def _of_clicks(self) -> Float32:
        return self._taught()
