"""A search by text finds items by their text features, and claims nothing else about them."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from recsys.bundle import load_bundle
from recsys.errors import InputError
from recsys.model import FeatureTable, encode_catalogue
from recsys.retriever import Retriever
from recsys.search import ItemIndex
from recsys.text_queries import features_of_texts, require_text_feature


@pytest.fixture(scope="module")
def transforms(small_run):
    return load_bundle(small_run.run / "bundle")[0].encoder.item_transforms


def test_only_the_text_features_are_filled(transforms):
    features = features_of_texts(transforms, ["The Locked Ledger", "A Briny Harbour"])
    lengths = dict(zip(features.bags.keys, features.bags.offsets.diff().tolist(), strict=True))
    assert min(lengths.pop("title")) > 3  # words and parts of words
    assert set(map(tuple, lengths.values())) == {(0, 0)}
    assert not features.dense.any()


def test_a_model_without_a_text_feature_is_refused(transforms):
    require_text_feature(transforms)
    with pytest.raises(InputError, match="no item feature of kind 'text'"):
        require_text_feature(tuple(transform for transform in transforms if transform.kind != "text"))


@pytest.fixture(scope="module")
def items(retriever):
    return retriever.bundle.items


def test_a_text_finds_the_item_it_describes(small_run, items):
    """Where titles alone place an item, its own title finds it, whatever a missing year would add."""
    bundle, _ = load_bundle(small_run.run / "bundle")
    tower = bundle.model.item_tower
    for name, weight in tower.named_parameters():
        if "item_title" not in name:
            weight.zero_()
    tower.metadata.dense.weight[:, 1] = 5.0
    table = FeatureTable.from_frame(bundle.encoder.item_transforms, bundle.item_features)
    vectors = encode_catalogue(bundle.model, table, bundle.encoder.num_items, torch.device("cpu")).numpy()
    index = ItemIndex.build(vectors, kind="exact")
    by_title = Retriever(replace(bundle, item_vectors=vectors, index=index), "id")
    answers = by_title.search_text(items["title"].to_list(), k=1)
    titles = dict(items.select("item_id", "title").iter_rows())
    assert [titles[item] for item in answers.item_ids.explode()] == items["title"].to_list()
    np.testing.assert_allclose(answers.scores.explode(), 1.0, atol=1e-6)


def test_texts_come_as_a_batch(retriever, items):
    titles = items["title"].head(100)
    answers = retriever.search_text(titles.to_list(), k=20)
    alone = retriever.search_text(titles[:1].to_list(), k=20)
    assert alone.item_ids[0].equals(answers.item_ids[0])
    assert len(retriever.search_text([], k=5)) == 0
    for bad in ("one string", [3], [None]):
        with pytest.raises(ValueError, match="expected a list of strings"):
            retriever.search_text(bad)
