"""Queries for a search by text, made of the items' own words: nobody logs what people search for."""

import random

import numpy as np
import polars as pl

from recsys.data import Int64

NUM_WORDS = 3
LONG = 5  # letters of a word that is misspelt


def random_words(texts: pl.Series, count: int, *, seed: int) -> tuple[Int64, list[str]]:
    """Queries of up to three words of a random item, every second one with a letter left out of a long word.

    Returns:
        [Q] int64 the rows of the items, and the queries; at most ``count``.
    """
    rng = random.Random(seed)
    words = texts.fill_null("").str.to_lowercase().str.extract_all(r"\w+").list.unique(maintain_order=True)
    with_words = np.flatnonzero(words.list.len().to_numpy())
    rows = np.array(sorted(rng.sample(with_words.tolist(), min(count, len(with_words)))), np.int64)
    queries = []
    for number, listed in enumerate(words.gather(rows).to_list()):
        chosen = rng.sample(listed, min(NUM_WORDS, len(listed)))
        longest = max(range(len(chosen)), key=lambda place: len(chosen[place]))
        if number % 2 and len(chosen[longest]) >= LONG:
            letter = rng.randrange(len(chosen[longest]))
            chosen[longest] = chosen[longest][:letter] + chosen[longest][letter + 1 :]
        queries.append(" ".join(chosen))
    return rows, queries
