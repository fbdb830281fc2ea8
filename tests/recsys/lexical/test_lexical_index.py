"""The words of a query find the items that have them, with the scores of bm25s."""

import bm25s
import numpy as np
import polars as pl
import pytest

from recsys.lexical import LexicalIndex

TEXTS = pl.Series([
    "The Bear of the north", "A bear, a bear!", None, "Москва and the sea", "sea of bears", "", "die Bären der See",
    "12 angry men",
])  # fmt: skip


def test_scores_are_those_of_bm25s_and_repeated_words_count_again():
    rng = np.random.default_rng(0)
    texts = [" ".join(f"w{word}" for word in rng.zipf(1.5, rng.integers(1, 30)) % 300) for _ in range(200)]
    index = LexicalIndex.build(pl.Series(texts))
    peer = bm25s.BM25()
    peer.index([text.split() for text in texts], show_progress=False)
    for query in (texts[3], "w1 w1 w7", "w2 nothing"):
        expected = peer.get_scores(query.split())
        scores = index.scores_of(query)
        assert scores[0] == 0
        np.testing.assert_allclose(scores[1:], expected, rtol=1e-5, atol=1e-6)


def test_words_are_found_whatever_their_case_and_script():
    index = LexicalIndex.build(TEXTS)
    assert index.words.to_list() == sorted(index.words.to_list(), key=str.encode)
    assert np.flatnonzero(index.scores_of("МОСКВА")).tolist() == [4]
    assert np.flatnonzero(index.scores_of("Bear?")).tolist() == [1, 2]
    assert index.scores_of("bear")[2] > index.scores_of("bear")[1]
    for text in ("unheard", "unheard of", "", "?!"):
        assert index.scores_of(text) is None


def test_the_best_come_first_and_the_rest_is_padding():
    ranked = LexicalIndex.build(TEXTS).top(["bear", None, "nothing", "see sea"], 3)
    assert ranked.tolist() == [[2, 1, 0], [0, 0, 0], [0, 0, 0], [4, 5, 7]]


@pytest.mark.parametrize(
    ("text", "stopwords"),
    [
        ("it is the aim of this work to show that there are no such words in the others", "english"),
        ("der hund und die katze sind in dem haus und an der tür", "none"), ("Alien Star Wars", "none"), ("", "none"),
    ],
)  # fmt: skip
def test_stopwords_are_left_out_of_english_alone(text, stopwords):
    index = LexicalIndex.build(pl.Series([text] * 3))
    assert index.stopwords == stopwords
    assert ("the" in index.words) == (stopwords == "none" and "the" in text.split())
    if stopwords == "english":
        assert index.scores_of("the") is None


def test_a_catalogue_without_a_word_has_an_index():
    index = LexicalIndex.build(pl.Series([None, "?!"], dtype=pl.String))
    assert (len(index.words), index.offsets.tolist()) == (0, [0])
    assert index.scores_of("a") is None
