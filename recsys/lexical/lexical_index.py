"""BM25 over the texts of a catalogue: which items have the words of a query, rare words counting most.

The score of every word in every item is computed when a bundle is published, as by the library bm25s with its defaults
(Lucene's BM25), to which tests compare it. What is stored are plain arrays, and a query adds up the entries of its
words. Words are those of recsys/hashed_words.py: letters and digits of any script in lower case. English stopwords are
left out where the texts are clearly English, and nowhere else.

Shape suffixes: N catalogue positions with 0 among them, W distinct words, E entries.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from ..data import Int32, Int64
from ..hashed_words import words_of, words_of_text

Float32 = npt.NDArray[np.float32]
Stopwords = Literal["english", "none"]

# those of bm25s, which are those of Lucene
ENGLISH = (
    "a", "an", "and", "are", "as", "at", "be", "but", "by", "for", "if", "in", "into", "is", "it", "no", "not", "of",
    "on", "or", "such", "that", "the", "their", "then", "there", "these", "they", "this", "to", "was", "will", "with",
)  # fmt: skip
MARKS = ("the", "of", "and", "to")  # a seventh of the words of English prose, and hardly any of other languages
CLEARLY = 0.05
K1, B = 1.5, 0.75  # how soon repeating a word adds nothing, and how much longer texts are discounted


@dataclass(frozen=True)
class LexicalIndex:
    """The scores of words in items.

    words: [W] the distinct words, sorted by their UTF-8 bytes. offsets: [W + 1] int64, where the entries of each word
    begin and end. positions: [E] int32 catalogue positions, ascending for each word. scores: [E] float32, above 0.
    num_items: the size of the catalogue. stopwords: which words of a query do not count.
    """

    words: pl.Series
    offsets: Int64
    positions: Int32
    scores: Float32
    num_items: int
    stopwords: Stopwords

    @staticmethod
    def build(texts: pl.Series) -> "LexicalIndex":
        """Index the texts of a catalogue; the same texts give the same bytes.

        texts: [num_items] String; item ``i`` has position ``i + 1``.
        """
        listed = words_of(texts).rename("word")
        stopwords = _language(listed)
        tokens = pl.DataFrame([pl.arange(1, len(texts) + 1, dtype=pl.Int32, eager=True).alias("position"), listed])
        tokens = tokens.explode("word", empty_as_null=False)
        if stopwords == "english":
            tokens = tokens.filter(~pl.col("word").is_in(ENGLISH))
        words = tokens.get_column("word").unique().sort()
        codes = pl.col("word").cast(pl.Enum(words)).to_physical().alias("code")
        counts = tokens.select("position", codes).group_by("code", "position").len("count").sort("code", "position")
        num_items_with = np.bincount(counts.get_column("code").to_numpy(), minlength=len(words))
        positions = counts.get_column("position").to_numpy()
        rarity = np.log1p((len(texts) - num_items_with + 0.5) / (num_items_with + 0.5))
        length_N = np.bincount(tokens.get_column("position").to_numpy(), minlength=len(texts) + 1)
        relative = length_N[positions] / max(1e-9, length_N[1:].mean()) if len(texts) else length_N[positions]
        count = counts.get_column("count").to_numpy().astype(np.float64)
        saturated = count / (K1 * (1 - B + B * relative) + count)
        return LexicalIndex(
            words=words,
            offsets=np.concatenate(([0], np.cumsum(num_items_with, dtype=np.int64))),
            positions=positions.astype(np.int32),
            scores=(np.repeat(rarity, num_items_with) * saturated).astype(np.float32),
            num_items=len(texts),
            stopwords=stopwords,
        )

    def scores_of(self, text: str) -> Float32 | None:
        """[N] the BM25 score of each item; None if no item has a word of the text."""
        rows = self._rows(text)
        if not len(rows):
            return None
        scores_N = np.zeros(self.num_items + 1, np.float32)
        for row in rows.tolist():
            entries = slice(*self.offsets[row : row + 2].tolist())
            np.add.at(scores_N, self.positions[entries], self.scores[entries])
        return scores_N

    def top(self, texts: Sequence[str | None], k: int) -> Int32:
        """[Q, k] positions of the items with the highest scores, ties by position; 0 after the last that has any."""
        ranked = np.zeros((len(texts), k), np.int32)
        for query, text in enumerate(texts):
            scores = None if text is None else self.scores_of(text)
            if scores is not None:
                least = np.partition(scores, -k)[-k] if k < len(scores) else 0.0
                hits = np.flatnonzero((scores >= least) & (scores > 0))
                best = hits[np.argsort(-scores[hits], kind="stable")[:k]]
                ranked[query, : len(best)] = best
        return ranked

    def _rows(self, text: str) -> Int64:
        """The rows of the known words of a text, a repeated word as often as it is there."""
        rows = []
        for word in words_of_text(text):
            row = bisect_left(self.words, word)  # by code points, in the order of the bytes
            if row < len(self.words) and self.words[row] == word and not self._is_stopword(word):
                rows.append(row)
        return np.array(rows, np.int64)

    def _is_stopword(self, word: str) -> bool:
        return self.stopwords == "english" and word in ENGLISH


def _language(words: pl.Series) -> Stopwords:
    """English if many of the words are its commonest ones."""
    flat = words.explode(empty_as_null=False)
    share = flat.is_in(MARKS).mean() if len(flat) else 0.0
    return "english" if float(share) >= CLEARLY else "none"  # type: ignore[arg-type]  # a mean of booleans
