"""Search by text: what a text, and other columns that are given with it, say of the item that is sought."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from .data import Int64, Jagged, Transform
from .errors import InputError
from .hashed_words import hashes_of, words_of
from .model import ColumnUpdate, FeatureTable

NUM_HASHES = 1 << 32  # a table has far fewer rows, so that unlike tokens share some
NO_WORD = "no items: the text has no letter and no digit"
UNKNOWN = "no items: no word of the text, and no part of one, occurs in the texts of the items"


@dataclass(frozen=True)
class TextQueries:
    """Texts as features of items.

    features: a table of them, from row 0. given: the features that each query says something of; none where it says
    nothing. reasons: why a query says nothing; None elsewhere.
    """

    features: FeatureTable
    given: Sequence[frozenset[str]]
    reasons: Sequence[str | None]


class TextReader:
    """Reads texts as items whose other features are unknown.

    Words, and parts of words, that occur in no text of the catalogue are left out: their rows of a table are those of
    unlike words, or were never trained. A pretrained encoder reads them all.
    """

    def __init__(self, transforms: tuple[Transform, ...], items: pl.DataFrame) -> None:
        """transforms: the item features. items: the raw metadata of the catalogue.

        Raises:
            InputError: No feature is a text.
        """
        self._transforms = transforms
        self.names = frozenset(transform.name for transform in transforms if transform.kind == "text")
        if not self.names:
            raise InputError("this model has no item feature of kind 'text'; train one with it to search by text")
        self._known = {
            transform.name: _hashes(words_of(items.get_column(transform.column)).explode(empty_as_null=False))
            for transform in transforms
            if transform.name in self.names and transform.is_bag
        }

    def read(self, texts: Sequence[str], updates: Sequence[ColumnUpdate] = ()) -> TextQueries:
        """Read each text as every text feature of an item; the other features are empty.

        Args:
            texts: At least one.
            updates: Values of features that are given beside the texts, or in place of them.
        """
        words, count = pl.Series(list(texts), dtype=pl.String), len(texts)
        all_rows = np.arange(count)
        of_texts = [ColumnUpdate(name, all_rows, self._encode(name, words)) for name in sorted(self.names)]
        says_something = np.any([self._transform(one.name).is_known(one.values) for one in of_texts], axis=0)
        given = [self.names if known else frozenset() for known in says_something.tolist()]
        for update in updates:
            for row in update.rows.tolist():
                given[row] |= {update.name}
        blank = FeatureTable.from_frame(self._transforms, pl.DataFrame())
        features = blank.changed(np.zeros(count, np.int64), self._transforms, [*of_texts, *updates])
        has_word = words.str.contains(r"\w").to_list()
        reasons = [None if given[row] else UNKNOWN if has_word[row] else NO_WORD for row in range(count)]
        return TextQueries(features, given, reasons)

    def _encode(self, name: str, texts: pl.Series) -> pl.Series:
        transform, rows = self._transform(name), []
        if not transform.is_bag:
            return transform.encode(texts.set(~texts.str.contains(r"\w"), ""))
        for words in words_of(texts).to_list():
            hashes = np.array([token for word in words for token in hashes_of(word, NUM_HASHES)], np.int64)
            rows.append(hashes[np.isin(hashes, self._known[name])] % transform.size)
        return Jagged.from_rows(rows).to_series(name)

    def _transform(self, name: str) -> Transform:
        return next(transform for transform in self._transforms if transform.name == name)


def _hashes(words: pl.Series) -> Int64:
    """The distinct hashes of words and parts of words, which are too many to collide often."""
    return np.unique([token for word in words.unique() for token in hashes_of(word, NUM_HASHES)]).astype(np.int64)
