import zlib

import polars as pl
import pytest

from recsys import hashed_words
from recsys.hashed_words import (
    MAX_BUCKETS,
    MIN_BUCKETS,
    count_long_texts,
    hashes_of,
    num_buckets,
    words_of,
    words_of_text,
)


def test_words_are_letters_digits_and_underscores_in_lower_case() -> None:
    assert words_of(pl.Series(["Köln, 2 x_y!", "", None])).to_list() == [["köln", "2", "x_y"], [], []]


def test_a_long_word_is_hashed_with_its_character_ngrams() -> None:
    tokens = ["budget", "#budg", "#udge", "#dget"]
    assert hashes_of("budget", 1000) == [zlib.crc32(token.encode()) % 1000 for token in tokens]
    assert hashes_of("deal", 1000) == [zlib.crc32(b"deal") % 1000]


@pytest.mark.parametrize(("words", "expected"), [([], MIN_BUCKETS), (["deal"] * 9, MIN_BUCKETS)])
def test_a_small_vocabulary_gets_the_smallest_table(words: list[str], expected: int) -> None:
    assert num_buckets(pl.Series(words, dtype=pl.String)) == expected


def test_a_table_has_twice_as_many_rows_as_there_are_tokens_up_to_a_limit() -> None:
    assert num_buckets(pl.Series([f"{number:04}" for number in range(1025)])) == 4096
    assert num_buckets(pl.Series([f"{number:06}" for number in range(70_000)])) == MAX_BUCKETS


def test_of_a_very_long_text_only_the_first_words_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashed_words, "MAX_WORDS", 2)
    texts = pl.Series(["a b c", "a b", None])
    assert words_of(texts).to_list() == [["a", "b"], ["a", "b"], []]
    assert count_long_texts(texts) == 1


@pytest.mark.parametrize(
    "text", ["The Bear's 2nd, x_y!", "", "Straße ÄÖ İ東京 é", "a\nb\tc\x00d", "K\u212a", "1.5e3-7"]
)
def test_a_text_alone_has_the_same_words(text: str) -> None:
    assert words_of_text(text) == words_of(pl.Series([text])).to_list()[0]
