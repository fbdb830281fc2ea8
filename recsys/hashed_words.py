"""Words and their character n-grams, hashed to rows of an embedding table."""

import re
import zlib

import numpy as np
import polars as pl

MIN_BUCKETS, MAX_BUCKETS = 1 << 10, 1 << 17  # rows of the embedding table of a text column
NGRAM = 4
MAX_WORDS = 10_000  # of a text that are read: more would slow every batch that has it


def words_of(texts: pl.Series) -> pl.Series:
    """The words of each text, of a very long one its first: a list of strings a row."""
    return texts.cast(pl.String).fill_null("").str.to_lowercase().str.extract_all(r"\w+").list.head(MAX_WORDS)


def words_of_text(text: str) -> list[str]:
    """The words of one text, as ``words_of`` has them, in a hundredth of its time where all letters are ASCII."""
    if text.isascii():
        return re.findall(r"\w+", text.lower(), re.ASCII)[:MAX_WORDS]
    words: list[str] = words_of(pl.Series([text])).to_list()[0]
    return words


def num_buckets(words: pl.Series) -> int:
    """Twice the number of distinct tokens, rounded up to a power of two: few of them collide."""
    tokens = {token for word in words.unique() for token in _tokens(word)}
    return int(np.clip(1 << (2 * len(tokens) - 1).bit_length(), MIN_BUCKETS, MAX_BUCKETS))


def hashes_of(word: str, num_buckets: int) -> list[int]:
    """The rows of a word's tokens."""
    return [zlib.crc32(token.encode()) % num_buckets for token in _tokens(word)]


def count_long_texts(texts: pl.Series) -> int:
    """How many texts have more words than are read."""
    present = texts.cast(pl.String).drop_nulls()
    long = present.filter(present.str.len_bytes() >= 2 * MAX_WORDS)  # a word and what ends it are two bytes or more
    return int((long.str.count_matches(r"\w+") > MAX_WORDS).sum())


def _tokens(word: str) -> list[str]:
    """The word and, if it is long, its character n-grams, by which unseen inflections resemble it."""
    ngrams = [f"#{word[start : start + NGRAM]}" for start in range(len(word) - NGRAM + 1)]
    return [word, *ngrams] if len(word) > NGRAM else [word]
