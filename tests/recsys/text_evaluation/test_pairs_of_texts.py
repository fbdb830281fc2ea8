"""Translations, similarities and triplets against figures worked by hand and by brute force."""

import math

import numpy as np
import pytest

from recsys.errors import InputError
from recsys.text_evaluation import evaluate_similarity, evaluate_translation, evaluate_triplets, pairs_of_texts


def by_angle(texts):
    """Texts are angles in degrees."""
    return [[math.cos(math.radians(float(text))), math.sin(math.radians(float(text)))] for text in texts]


def collapsed(texts):
    return np.ones((len(texts), 3))


def test_a_translation_is_looked_for_on_the_other_side_in_both_directions(monkeypatch):
    """0 and 30 are both closest to 20; 20 and 50 are both closest to 30, and 181 to 180."""
    for cells in (pairs_of_texts.CELLS, 3):
        monkeypatch.setattr(pairs_of_texts, "CELLS", cells)
        found = evaluate_translation(by_angle, ["0", "30", "180"], ["20", "50", "181"])
        assert (found.num_pairs, found.source_to_target, found.target_to_source) == (3, 2 / 3, 2 / 3)
    one_way = evaluate_translation(by_angle, ["0", "100"], ["40", "20"])
    assert (one_way.source_to_target, one_way.target_to_source) == (0, 0.5)


def test_of_equal_translations_any_is_right_and_a_collapsed_encoder_guesses():
    found = evaluate_translation(by_angle, ["0", "1", "90"], ["2", "2.0", "91"])
    assert (found.source_to_target, found.target_to_source) == (2 / 3, 2 / 3)
    same = evaluate_translation(by_angle, ["0", "1", "90"], ["2", "2", "91"])
    assert same.source_to_target == 1
    guessed = evaluate_translation(collapsed, [str(row) for row in range(40)], [str(row) for row in range(40, 80)])
    assert guessed.source_to_target == guessed.target_to_source == 1 / 40


def test_similarity_is_a_correlation_of_ranks():
    others, scores = ["10", "20", "30", "40"], [5.0, 4.9, 0.1, 0.0]
    assert evaluate_similarity(by_angle, ["0"] * 4, others, scores).spearman == pytest.approx(1)
    assert evaluate_similarity(by_angle, ["0"] * 4, others, scores[::-1]).spearman == pytest.approx(-1)
    found = evaluate_similarity(by_angle, ["0"] * 4, others, np.array([4, 3, 1, 2]))
    assert found.spearman == pytest.approx(1 - 6 * 2 / (4 * 15))  # 1 - 6 sum(d^2) / (n (n^2 - 1))
    assert found.num_pairs == 4


@pytest.mark.parametrize(
    ("encode", "scores", "message"),
    [
        (by_angle, [1, 2], r"scores have shape \(2,\); expected a finite number for each of 3 pairs"),
        (by_angle, [1, 2, math.nan], "expected a finite number"),
        (by_angle, [2, 2, 2], "the scores of all 3 pairs are 2; expected some that differ"),
        (collapsed, [1, 2, 3], "the cosines of all 3 pairs are 1; expected some that differ"),
    ],
)
def test_what_has_no_order_is_refused(encode, scores, message):
    with pytest.raises(InputError, match=message):
        evaluate_similarity(encode, ["0", "0", "0"], ["10", "20", "30"], scores)


def test_a_triplet_is_right_if_the_positive_is_closer_and_a_tie_is_not():
    found = evaluate_triplets(by_angle, ["0", "0", "0", "90"], ["10", "20", "-20", "80"], ["20", "10", "20", "0"])
    assert (found.num_triplets, found.accuracy) == (4, 0.5)
    assert evaluate_triplets(collapsed, ["0"], ["1"], ["2"]).accuracy == 0


def test_lists_must_match():
    with pytest.raises(InputError, match="found 1 sources, 2 targets; expected as many"):
        evaluate_translation(by_angle, ["0"], ["1", "2"])
    with pytest.raises(InputError, match="found 1 anchors, 1 positives, 0 negatives"):
        evaluate_triplets(by_angle, ["0"], ["1"], [])


def test_a_retriever_is_asked_for_its_vectors(retriever):
    titles = retriever.bundle.items["title"].unique(maintain_order=True).to_list()
    found = evaluate_translation(retriever, titles, titles)
    assert (found.source_to_target, found.target_to_source) == (1, 1)
    assert evaluate_triplets(retriever, titles, titles, titles[1:] + titles[:1]).accuracy > 0.9
