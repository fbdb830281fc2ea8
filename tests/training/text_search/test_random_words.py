"""Queries of random words are words of their items, some with a letter less."""

import polars as pl

from training.text_search import random_words

TEXTS = pl.Series(["The Locked Ledger of Soho", "", "Sea", "a A a", None, "Bright lights, big city"])


def test_words_are_those_of_the_item_and_every_second_query_has_a_slip():
    rows, queries = random_words(TEXTS, 100, seed=0)
    assert rows.tolist() == [0, 2, 3, 5]
    assert queries[1:3] == ["sea", "a"]
    first, last = queries[0].split(), queries[3].split()
    assert len(first) == len(last) == 3
    assert set(first) < {"the", "locked", "ledger", "of", "soho"}
    assert sum(word not in ("bright", "lights", "big", "city") for word in last) <= 1


def test_a_letter_is_left_out_of_a_long_word():
    _, queries = random_words(pl.Series(["abcdefgh"] * 2), 2, seed=0)
    assert queries[0] == "abcdefgh"
    assert len(queries[1]) == 7


def test_the_seed_decides():
    texts = pl.Series([f"one{n} two{n} three{n} four{n}" for n in range(50)])
    drawn = [random_words(texts, 10, seed=seed) for seed in (0, 0, 1)]
    assert drawn[0][1] == drawn[1][1] != drawn[2][1]
    assert len(drawn[0][0]) == 10
