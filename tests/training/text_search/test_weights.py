"""The weights of a search by text find items best by their own words, or by the queries of validation."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from recsys.bundle import TextWeights, load_bundle
from recsys.data.jagged import Jagged
from recsys.lexical import LexicalIndex
from recsys.rankers import TextSearch
from training.text_search import choose_text_weights
from training.text_search.weights import ndcg_of


@pytest.fixture(scope="module")
def bundle(small_run):
    return load_bundle(small_run.run / "bundle")[0]


@pytest.fixture(scope="module")
def validation(small_run):
    return small_run.dataset.queries("validation")


def test_item_vectors_that_say_nothing_get_no_weight(bundle, validation):
    random = np.random.default_rng(0).normal(size=bundle.item_vectors.shape).astype(np.float32)
    assert choose_text_weights(replace(bundle, item_vectors=random), validation, seed=0).clicks == 0.0


def test_item_vectors_that_know_more_get_weight(bundle, validation, monkeypatch):
    """Where texts alone tell nothing, and item vectors tell items apart, these count."""
    opinions = TextSearch.opinions

    def swapped(search, texts):
        by_text, _ = opinions(search, texts)
        return np.zeros_like(by_text), by_text

    monkeypatch.setattr(TextSearch, "opinions", swapped)
    assert choose_text_weights(bundle, validation, seed=0).clicks > 0


def test_words_get_weight_where_vectors_tell_nothing_and_none_where_words_do_not(bundle, validation, monkeypatch):
    none = LexicalIndex.build(pl.repeat("the same words", bundle.encoder.num_items, eager=True))
    assert choose_text_weights(replace(bundle, lexical=none), validation, seed=0).words == 0.0
    rng, size = np.random.default_rng(0), bundle.encoder.num_items + 1
    monkeypatch.setattr(TextSearch, "opinions", lambda _, texts: (rng.normal(size=(len(texts), size)),) * 2)
    assert choose_text_weights(bundle, validation, seed=0).words >= 0.5


def test_a_model_without_text_has_no_weights(bundle, validation):
    assert choose_text_weights(replace(bundle, lexical=None), validation, seed=0) is None


def test_a_bundle_is_sealed_with_its_weights(bundle, validation, small_run):
    expected = choose_text_weights(bundle, validation, seed=small_run.config.training.seed)
    assert bundle.text_weights == expected
    assert isinstance(expected, TextWeights)
    assert expected.words_of_users == 0.0


def test_ndcg_counts_every_target_and_half_of_equal_scores():
    scores = np.array([[0.9, 0.5, 0.1, 0.5], [1.0, 1.0, 1.0, 1.0]])
    ndcg = ndcg_of(scores, Jagged.from_rows([[1, 2], [0]]))
    ideal = 1 + 1 / np.log2(3)
    np.testing.assert_allclose(ndcg, [(1 + 1 / np.log2(1.5 + 2)) / ideal, 0])
    np.testing.assert_allclose(ndcg_of(scores[1:], Jagged.from_rows([[3]])), 1 / np.log2(1.5 + 2))
