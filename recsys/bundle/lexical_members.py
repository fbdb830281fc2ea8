"""The lexical index of a bundle, and the texts of its users: written, read and checked against the rest.

words.arrow           word: [W] the distinct words of the items' texts, sorted by their bytes
word_offsets.npy      [W + 1] int64: where the entries of each word begin
word_positions.npy    [entries] int32 catalogue positions
word_scores.npy       [entries] float32 BM25 scores
user_texts.arrow      text: [num_users] what the text columns of each user say; null where they say nothing
"""

from pathlib import Path

import numpy as np
import polars as pl

from ..data import write_arrow
from ..errors import InputError
from ..lexical import LexicalIndex, Stopwords
from .arrays import LARGEST, MAX_ENTRIES, read_array, within
from .contents import Contents
from .tables import read_table

LEXICAL_MEMBERS = frozenset({
    "words.arrow", "word_offsets.npy", "word_positions.npy", "word_scores.npy", "user_texts.arrow",
})  # fmt: skip


def write_lexical(index: LexicalIndex, user_texts: pl.Series, folder: Path) -> None:
    """Write the members. user_texts: String, a row for each user of the bundle."""
    write_arrow(index.words.alias("word").to_frame(), folder / "words.arrow")
    np.save(folder / "word_offsets.npy", index.offsets)
    np.save(folder / "word_positions.npy", index.positions)
    np.save(folder / "word_scores.npy", index.scores)
    write_arrow(user_texts.alias("text").to_frame(), folder / "user_texts.arrow")


def read_lexical(contents: Contents, num_items: int, stopwords: Stopwords) -> LexicalIndex:
    """The lexical index. Raises BundleError if it is none of so many items."""
    with contents.member("words.arrow") as content:
        words = _only_text(read_table(content), "word")
        if words.null_count() or not (words.is_sorted() and words.n_unique() == len(words)):
            raise InputError("its words are out of order, or repeated")
    with contents.member("word_offsets.npy") as content:
        offsets = np.asarray(read_array(content, np.int64, (len(words) + 1,)), np.int64)
        if offsets[0] or (np.diff(offsets) < 0).any() or offsets[-1] > MAX_ENTRIES:
            raise InputError("its rows are out of order")
    with contents.member("word_positions.npy") as content:
        positions = np.asarray(read_array(content, np.int32, (int(offsets[-1]),)), np.int32)
        ascends = np.diff(positions) > 0
        ascends[offsets[1:-1][(offsets[1:-1] > 0) & (offsets[1:-1] < offsets[-1])] - 1] = True  # another word
        if not within(positions, 1, num_items) or not ascends.all():
            raise InputError("an entry is no item, or is out of order for its word")
    with contents.member("word_scores.npy") as content:
        scores = np.asarray(read_array(content, np.float32, (int(offsets[-1]),)), np.float32)
        if not within(scores, 0, LARGEST):
            raise InputError("a score is not finite, below 0, or far too large")
    return LexicalIndex(words, offsets, positions, scores, num_items, stopwords)


def read_user_texts(contents: Contents, num_users: int) -> pl.Series:
    """The texts of the users. Raises BundleError if they are others."""
    with contents.member("user_texts.arrow") as content:
        texts = _only_text(read_table(content), "text")
        if len(texts) != num_users:
            raise InputError(f"it has {len(texts)} rows, for {num_users} users")
    return texts


def _only_text(table: pl.DataFrame, name: str) -> pl.Series:
    if table.schema != {name: pl.String}:
        raise InputError(f"its columns are {dict(table.schema)}, expected {name} of strings")
    return table.get_column(name)
