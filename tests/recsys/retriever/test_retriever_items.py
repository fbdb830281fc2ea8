"""What the retriever says about single items: which are similar, and why one is recommended."""

import numpy as np
import polars as pl
import pytest


def test_similar_items_have_the_highest_cosine(retriever, items):
    ids = items["item_id"][:7].to_list()
    answers = retriever.similar_items(ids, k=10)
    unit = retriever.bundle.item_vectors[1:] / np.linalg.norm(retriever.bundle.item_vectors[1:], axis=1, keepdims=True)
    for row, item in enumerate(ids):
        cosine = unit @ unit[row]
        cosine[row] = -np.inf
        assert answers.item_ids[row].to_list() == items["item_id"].gather(np.argsort(-cosine)[:10]).to_list()
        assert item not in answers.item_ids[row]
        assert retriever.similar_items([item], k=10).item_ids[0].equals(answers.item_ids[row])
    assert len(retriever.similar_items(ids[:1], k=10_000).item_ids[0]) == items.height - 1
    old = retriever.similar_items(ids, k=5, where=[("year", "<", 1950)]).item_ids.explode()
    assert items.filter(pl.col("item_id").is_in(old.implode()))["year"].max() < 1950


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (["nothing"], "item 'nothing' is not in the catalogue"),
        ([None], "item None is not in the catalogue"),
        ("i00001", "expected a list of ids"),
        ([1], "item ids are Int64"),
    ],
)
def test_an_unknown_item_has_no_similar_items(retriever, ids, message):
    with pytest.raises(ValueError, match=message):
        retriever.similar_items(ids)


def test_a_contribution_is_what_the_score_loses_without_the_item(retriever, histories):
    history = histories["item_id"][5].to_list()
    answers = retriever.recommend([history], k=3)
    explanation = retriever.explain(history, answers.item_ids[0][1])
    assert explanation.score == pytest.approx(answers.scores[0][1], abs=1e-5)
    unseen = retriever.recommend([history], k=1_000, exclude_seen=False).item_ids[0].to_list()
    assert explanation.rank == 1 + unseen.index(answers.item_ids[0][1])
    assert sorted(explanation.contributions["item_id"]) == sorted(history)
    assert explanation.contributions["contribution"].is_sorted(descending=True)
    explained = answers.item_ids[0][1]
    contribution_of = dict(explanation.contributions.iter_rows())
    for row, item in enumerate(history):
        without = retriever.recommend([history[:row] + history[row + 1 :]], k=1_000, exclude_seen=False)
        score_without = dict(zip(without.item_ids[0], without.scores[0], strict=True))[explained]
        assert contribution_of[item] == pytest.approx(explanation.score - score_without, abs=1e-5)
    alone = retriever.explain(history[:1], history[2])
    assert alone.contributions.rows() == [(history[0], pytest.approx(alone.score))]


def test_an_explanation_by_user_id_uses_the_users_features(retriever, histories):
    user_id, history = histories.row(7)
    by_id = retriever.explain(user_id=user_id, item_id="i00003")
    best = retriever.recommend([history], user_ids=[user_id], k=1_000, exclude_seen=False)
    scores = dict(zip(best.item_ids[0], best.scores[0], strict=True))
    assert by_id.score == pytest.approx(scores["i00003"], abs=1e-5)
    assert by_id.bundle_id == retriever.bundle_id


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"history": ["i00001"], "item_id": "nothing"}, "item 'nothing' is not in the catalogue"),
        ({"history": ["i00001"]}, "item None is not in the catalogue"),
        ({"history": ["nothing"], "item_id": "i00001"}, "no item of the history is known"),
        ({"user_id": "nobody", "item_id": "i00001"}, "no item of the history is known"),
        ({"history": "i00001", "item_id": "i00001"}, "expected a list of item ids"),
        ({"item_id": "i00001"}, "nobody to recommend to"),
    ],
)
def test_what_cannot_be_explained_is_one_clear_line(retriever, arguments, message):
    with pytest.raises(ValueError, match=message):
        retriever.explain(**arguments)
