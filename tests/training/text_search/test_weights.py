"""The weight of what clicks taught is one that finds items best by their own words."""

from dataclasses import replace

import numpy as np
import pytest

from recsys.bundle import TextWeights, load_bundle
from recsys.rankers import TextSearch
from training.text_search import choose_text_weights


@pytest.fixture(scope="module")
def bundle(small_run):
    return load_bundle(small_run.run / "bundle")[0]


def test_item_vectors_that_say_nothing_get_no_weight(bundle):
    random = np.random.default_rng(0).normal(size=bundle.item_vectors.shape).astype(np.float32)
    assert choose_text_weights(replace(bundle, item_vectors=random), seed=0) == TextWeights(clicks=0.0)


def test_item_vectors_that_know_more_get_weight(bundle, monkeypatch):
    """Where texts alone tell nothing, and item vectors tell items apart, these count."""
    opinions = TextSearch.opinions

    def swapped(search, texts):
        by_text, _ = opinions(search, texts)
        return np.zeros_like(by_text), by_text

    monkeypatch.setattr(TextSearch, "opinions", swapped)
    assert choose_text_weights(bundle, seed=0).clicks > 0


def test_a_model_without_text_has_no_weights(bundle):
    transforms = tuple(one for one in bundle.encoder.item_transforms if one.kind != "text")
    assert (
        choose_text_weights(replace(bundle, encoder=replace(bundle.encoder, item_transforms=transforms)), seed=0)
        is None
    )


def test_a_bundle_is_sealed_with_its_weights(bundle):
    assert bundle.text_weights == choose_text_weights(replace(bundle, text_weights=None), seed=0)
