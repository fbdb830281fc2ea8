"""A text becomes the text features of an item, and nothing else about the item is claimed."""

import pytest

from recsys.bundle import load_bundle
from recsys.errors import InputError
from recsys.text_queries import features_of_texts, require_text_feature


@pytest.fixture(scope="module")
def transforms(small_run):
    return load_bundle(small_run.run / "bundle")[0].encoder.item_transforms


def test_only_the_text_features_are_filled(transforms):
    features = features_of_texts(transforms, ["The Locked Ledger", "A Briny Harbour"])
    lengths = dict(zip(features.bags.keys, features.bags.lengths.reshape(-1, 2).tolist(), strict=True))
    assert min(lengths.pop("title")) > 3  # words and parts of words
    assert set(map(tuple, lengths.values())) == {(0, 0)}
    assert not features.dense.any()


def test_a_model_without_a_text_feature_is_refused(transforms):
    require_text_feature(transforms)
    with pytest.raises(InputError, match="no item feature of kind 'text'"):
        require_text_feature(tuple(transform for transform in transforms if transform.kind != "text"))
