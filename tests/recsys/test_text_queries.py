"""Texts are read as items of which nothing else is known, and what nobody has read is left out."""

import numpy as np
import polars as pl
import pytest

from recsys.bundle import load_bundle
from recsys.errors import InputError
from recsys.model import ColumnUpdate
from recsys.text_queries import NO_WORD, UNKNOWN, TextReader


@pytest.fixture(scope="module")
def bundle(small_run):
    return load_bundle(small_run.run / "bundle")[0]


@pytest.fixture(scope="module")
def reader(bundle):
    return TextReader(bundle.encoder.item_transforms, bundle.items)


def test_only_the_text_features_are_filled(reader):
    queries = reader.read(["The Locked Ledger", "A Briny Harbour"])
    features = queries.features.take(np.arange(2))
    lengths = dict(zip(features.bags.keys, features.bags.offsets.diff().tolist(), strict=True))
    assert min(lengths.pop("title")) > 3  # words and parts of words
    assert set(map(tuple, lengths.values())) == {(0, 0)}
    assert not features.dense.any()
    assert queries.given == [{"title"}] * 2
    assert queries.reasons == [None, None]


def test_a_title_is_encoded_as_the_item_s_own(bundle, reader):
    titles = bundle.items["title"]
    encoded = reader.read(titles.to_list()).features.bags["title"].to_series("title")
    assert encoded.equals(bundle.item_features["title"])


def test_what_no_item_says_is_left_out_and_a_text_of_nothing_else_has_the_reason(bundle, reader):
    title = bundle.items["title"][0]
    queries = reader.read([title, f"{title} qqxjz", "qqxjz", "", "?! ...", "\U0001f600"])
    tokens = queries.features.bags["title"]
    assert tokens[0].tolist() == tokens[1].tolist()
    assert tokens.lengths[2:].tolist() == [0] * 4
    assert queries.reasons == [None, None, UNKNOWN, NO_WORD, NO_WORD, NO_WORD]
    assert queries.given[2:] == [frozenset()] * 4


def test_columns_are_given_beside_a_text_or_without_one(bundle, reader):
    year = next(one for one in bundle.encoder.item_transforms if one.name == "year")
    updates = [ColumnUpdate("year", np.array([1, 2]), year.encode(pl.Series([1950, 1960])))]
    queries = reader.read([bundle.items["title"][0]] * 2 + [""], updates)
    assert queries.given == [{"title"}, {"title", "year"}, {"year"}]
    assert queries.reasons == [None] * 3
    np.testing.assert_array_equal(queries.features.dense[:, 0] != 0, [False, True, True])


def test_a_model_without_a_text_feature_is_refused(bundle):
    without = tuple(transform for transform in bundle.encoder.item_transforms if transform.kind != "text")
    with pytest.raises(InputError, match="no item feature of kind 'text'"):
        TextReader(without, bundle.items)
