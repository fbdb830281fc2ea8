"""A search by text compares texts with texts; what else an item is, or what was clicked, does not hide it."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch

from recsys.bundle import TextWeights, load_bundle
from recsys.errors import InputError
from recsys.rankers import TextSearch
from recsys.retriever import Retriever
from recsys.search import unit_rows


@pytest.fixture(scope="module")
def bundle(small_run):
    return load_bundle(small_run.run / "bundle")[0]


def weighted(bundle, clicks):
    return Retriever(replace(bundle, text_weights=TextWeights(clicks=clicks)), "id")


def titles_of(answers, items):
    titles = dict(items.select("item_id", "title").iter_rows())
    return [titles[item] for item in answers.item_ids.explode()]


def test_an_item_s_own_title_finds_it_first(bundle):
    answers = weighted(bundle, 0.0).search_text(bundle.items["title"].to_list(), k=1)
    assert titles_of(answers, bundle.items) == bundle.items["title"].to_list()
    np.testing.assert_allclose(answers.scores.explode(), 1.0, atol=1e-6)


def test_scores_are_both_cosines_by_their_weights(bundle):
    by_text, by_clicks = TextSearch(bundle).opinions(["The Locked Ledger"])
    answers = weighted(bundle, 0.3).search_text(["The Locked Ledger"], k=20)
    expected = np.sort((0.7 * by_text + 0.3 * by_clicks)[0, 1:])[::-1][:20]
    np.testing.assert_allclose(answers.scores[0].to_numpy(), expected, atol=1e-6)


def test_with_all_weight_on_clicks_the_item_vectors_rank(bundle):
    query = TextSearch(bundle).opinions(["The Locked Ledger"])[1][0]
    answers = weighted(bundle, 1.0).search_text(["The Locked Ledger"], k=5)
    best = bundle.encoder.ids(1 + np.argsort(-query[1:], kind="stable")[:5])
    assert answers.item_ids[0].to_list() == best.to_list()
    assert unit_rows(bundle.item_vectors)[1:].shape == (bundle.encoder.num_items, bundle.model.spec.width)


def test_a_column_that_is_left_blank_changes_nothing_and_one_that_is_given_counts(bundle):
    """Numbers with large weights, as those of a vector have, hide no text; where they are given they decide."""
    other = replace(bundle, text_weights=TextWeights(clicks=0.0))
    weights = other.model.item_tower.metadata.dense.weight
    before = weights.clone()
    with torch.no_grad():
        weights.mul_(50)
        retriever = Retriever(other, "id")
        plain = retriever.search_text(bundle.items["title"].to_list(), k=1)
        title = bundle.items["title"][0]
        years = retriever.search_text([title, title], columns={"year": [1800, None]}, k=20)
        alone = retriever.search_text([title, ""], columns={"year": [None, 1800]}, k=20)
        weights.copy_(before)
    assert titles_of(plain, bundle.items) == bundle.items["title"].to_list()
    year_of = dict(bundle.items.select("item_id", "year").iter_rows())
    assert np.mean([year_of[item] for item in years.item_ids[0]]) < np.mean(
        [year_of[item] for item in years.item_ids[1]]
    )
    assert years.item_ids[1].equals(alone.item_ids[0])
    assert len(alone.item_ids[1]) == 20


def test_columns_that_do_not_fit_are_refused(retriever):
    for columns, message in (
        ({"year": 1950}, "expected a list of 1 values"), ({"year": [1950, 1960]}, "expected a list of 1 values"),
        ({"colour": ["red"]}, "item: no column 'colour'; the model reads"), ("year", "columns is 'year'"),
        ({"year": ["old"]}, "expected numbers"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=message):
            retriever.search_text(["harbour"], columns=columns)


def test_a_text_of_which_nothing_is_known_has_the_reason_and_no_items(retriever):
    answers = retriever.search_text(["qqxjz", "", "harbour"], k=3)
    assert answers.item_ids.list.len().to_list() == [0, 0, 3]
    assert answers.reasons.to_list() == [
        "no items: no word of the text, and no part of one, occurs in the texts of the items",
        "no items: the text has no letter and no digit", None,
    ]  # fmt: skip


def test_texts_come_as_a_batch_and_only_eligible_items_return(retriever):
    items = retriever.bundle.items
    titles = items["title"].head(100)
    answers = retriever.search_text(titles.to_list(), k=20)
    alone = retriever.search_text(titles[:1].to_list(), k=20)
    assert alone.item_ids[0].equals(answers.item_ids[0])
    assert len(retriever.search_text([], k=5)) == 0
    for bad in ("one string", [3], [None]):
        with pytest.raises(ValueError, match="expected a list of strings"):
            retriever.search_text(bad)
    early = items.filter(pl.col("year") < 1950)["item_id"].to_list()
    kept = retriever.search_text(titles[:5].to_list(), columns={"year": [1990] * 5}, k=10, where=[("year", "<", 1950)])
    assert kept.item_ids.list.len().to_list() == [10] * 5
    assert set(kept.item_ids.explode()) <= set(early)


def test_few_indexes_of_other_columns_are_kept(bundle):
    search = TextSearch(bundle).prepared()
    retriever = Retriever(bundle, "id")
    for name, value in (("year", 1950), ("genre", "Space"), ("tags", ["a"])):
        retriever.search_text(["harbour"], columns={name: [value]}, k=1)
    kept = retriever._catalogue.model._texts._indexes
    assert [sorted(names) for names in kept] == [["title"], ["tags", "title"]]
    assert [sorted(names) for names in search._indexes] == [["title"]]
