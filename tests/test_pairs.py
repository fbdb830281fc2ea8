"""Pairs of texts from files to answers: a query is a user with a text and no history."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch

from features.build import build
from recsys.answers import FALLBACK
from recsys.bundle import TextWeights
from recsys.config import parse_config
from recsys.data import Jagged
from recsys.model import narrowed
from recsys.pyfunc import Served
from recsys.retriever import Query, Retriever
from recsys.search import ItemIndex
from recsys.text_evaluation import (
    evaluate_retrieval,
    evaluate_similarity,
    evaluate_translation,
    evaluate_triplets,
)
from serving.batch_scoring import score
from training import loop, publish
from training.checkpoints import checkpoint
from training.description import TrainingDescription
from training.evaluation import rank_queries

CONCEPTS, PAIRS = 20, 400
ASKED, WRITTEN = (
    [f"{syllable}{number}" for number in range(CONCEPTS)] for syllable in ("que", "doc")
)  # the two languages share no word


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """A model of pairs, loaded; its folder; and the texts of the queries by id."""
    folder, rng = tmp_path_factory.mktemp("pairs"), np.random.default_rng(0)
    concepts = np.array([rng.choice(CONCEPTS, 3, replace=False) for _ in range(PAIRS)])
    ids = [f"p{number:03}" for number in range(PAIRS)]
    texts = {
        role: [" ".join(words[concept] for concept in row) for row in concepts]
        for role, words in (("user", ASKED), ("item", WRITTEN))
    }
    pl.DataFrame({"user_id": ids, "item_id": ids}).write_parquet(folder / "events.parquet")
    pl.DataFrame({"user_id": ids, "text": texts["user"]}).write_parquet(folder / "users.parquet")
    items = pl.DataFrame({"item_id": ids, "text": texts["item"], "title": "Guide > Part", "file": "guide.md"})
    lines = pl.int_range(1, PAIRS + 1)
    items.with_columns(first_line=lines, last_line=lines + 2).write_parquet(folder / "items.parquet")
    text = [{"name": "text", "kind": "text"}]
    config = parse_config(
        {
            "data": {name: str(folder / f"{name}.parquet") for name in ("events", "items", "users")}
            | {"min_user_events": 1},
            "features": {"item": text, "user": text},
            "split": {"kind": "users", "test_share": 0.15},
            "model": {"embedding_dim": 16},
            "loss": {"num_negatives": 64},
            "training": {"epochs": 12, "learning_rate": 0.02, "average_decay": 0.9},
        },
        "test",
    )
    run = folder / "run"
    dataset = build(config, run / "dataset")
    loop.train(config, dataset, run)
    publish.seal(TrainingDescription.read(run), checkpoint.load(run / "model.safetensors"), run / "bundle")
    asked = dict(zip(ids, texts["user"], strict=True))
    return SimpleNamespace(folder=folder, dataset=dataset, retriever=Retriever.load(run / "bundle"), asked=asked)


def test_pairs_need_one_event_a_user(pairs):
    spec = pairs.retriever.bundle.model.spec
    assert (spec.history_encoder, spec.shared, spec.knows_profiles) == ("none", ("text",), True)
    for part in ("train", "validation", "test"):
        assert len(pairs.dataset.train()[0] if part == "train" else pairs.dataset.queries(part)) > 30


def test_unseen_queries_find_unseen_items_in_words_that_they_do_not_share(pairs):
    queries = pairs.dataset.queries("test")
    assert queries["history"].list.len().max() == 0
    answers = pairs.retriever.recommend(
        [[]] * queries.height, users=pl.DataFrame({"text": [pairs.asked[user] for user in queries["user_id"]]}), k=5
    )
    assert answers.reasons.null_count() == queries.height
    hits = [user in ids for user, ids in zip(queries["user_id"], answers.item_ids.to_list(), strict=True)]
    assert np.mean(hits) > 0.5  # 1 in 80 at random; no test item has a training event


def test_the_same_answer_online_in_batch_and_by_mlflow(pairs, tmp_path):
    today = pl.DataFrame({"user_id": ["a", "b", "c"], "text": [f"{ASKED[1]} {ASKED[4]}", ASKED[7], "unheard of"]})
    today.write_parquet(tmp_path / "users.parquet")
    online = pairs.retriever.answer([Query(user={"text": text}, k=7) for text in today["text"]])
    assert online.reasons.to_list()[:2] == [None, None]
    scored = Retriever.load(pairs.folder / "run" / "bundle", users=str(tmp_path / "users.parquet"))
    score(scored, tmp_path / "recs", users=str(tmp_path / "users.parquet"), k=7)
    batch = pl.read_parquet(tmp_path / "recs" / "part-*.parquet").sort("user_id", "rank")
    assert batch["item_id"].to_list() == [item for answer in online.item_ids.to_list() for item in answer]
    np.testing.assert_allclose(batch["score"], np.concatenate(online.scores.to_list()), atol=1e-5)
    records = pd.DataFrame({"user": [{"text": text} for text in today["text"]], "k": 7})
    assert Served(pairs.retriever).predict(records)["item_ids"].tolist() == online.item_ids.to_list()


def test_only_a_query_of_which_nothing_is_known_gets_what_is_popular(pairs):
    answers = pairs.retriever.answer(
        [Query(user={"text": text}) for text in ("", "?!", ASKED[0])] + [Query(history=[])]
    )
    assert answers.reasons.to_list() == [FALLBACK, FALLBACK, None, FALLBACK]


def test_a_history_counts_for_nothing_where_the_model_reads_none(pairs):
    with_history, without = (
        pairs.retriever.answer([Query(history=history, user={"text": ASKED[3]}, exclude_seen=False)])
        for history in (["p001", "p002"], [])
    )
    assert with_history.item_ids.equals(without.item_ids)
    assert pairs.retriever.answer([Query(history=["p001"])]).reasons.to_list() == [FALLBACK]


def test_a_question_finds_passages_with_their_sources(pairs):
    passages = pairs.retriever.passages(f"{WRITTEN[3]} {WRITTEN[8]}", 3)
    assert [passage.item_id for passage in passages] == (
        pairs.retriever.search_text([f"{WRITTEN[3]} {WRITTEN[8]}"], k=3).item_ids[0].to_list()
    )
    best = passages[0]
    line = int(best.item_id[1:]) + 1
    assert (best.source, best.heading) == (f"guide.md:{line}-{line + 2}", "Guide > Part")
    assert {WRITTEN[3], WRITTEN[8]} & set(best.text.split())
    assert len(pairs.retriever.passages("?!", 3)) == 0
    assert pairs.retriever.passages("?!", 3).reason == "no items: the text has no letter and no digit"


def test_words_count_beside_the_tower_where_a_text_is_all_that_is_known(pairs):
    """Queries in words of the documents, which the tower of another language hardly knows."""
    bundle = pairs.retriever.bundle
    texts = pl.DataFrame({"text": bundle.items["text"]})
    mixed = Retriever(replace(bundle, text_weights=TextWeights(clicks=0, words_of_users=0.5)), "id")
    alone = Retriever(replace(bundle, text_weights=None), "id")
    own = bundle.encoder.item_ids.to_list()
    for retriever, least in ((mixed, 0.95), (alone, 0.0)):
        answers = retriever.recommend([[]] * texts.height, users=texts, k=5)
        assert np.mean([item in ids for item, ids in zip(own, answers.item_ids.to_list(), strict=True)]) >= least
        assert answers.item_ids.list.len().unique().to_list() == [5]
    one = mixed.answer([Query(user={"text": texts["text"][3]}, k=5, where=[("item_id", "!=", own[3])])])
    assert own[3] not in one.item_ids[0]
    batch = mixed.recommend([[]] * 10, users=texts.head(10), k=5)
    assert mixed.answer([Query(user={"text": texts["text"][3]}, k=5)]).item_ids[0].equals(batch.item_ids[3])
    by_row = mixed.rank(Jagged.from_rows([[], []]), np.array([1, 2]), k=5)
    known = alone.bundle.texts_of(np.array([1, 2]))
    assert by_row.positions.tolist() == [
        mixed.bundle.encoder.positions(ids).tolist()
        for ids in mixed.recommend([[]] * 2, users=pl.DataFrame({"text": known}), k=5).item_ids
    ]


def test_bm25_stands_beside_a_model_of_pairs(pairs):
    queries = pairs.dataset.queries("test")
    evaluated = rank_queries(pairs.retriever, queries, pairs.dataset)
    assert not evaluated.ranked["bm25"].any()  # no query shares a word with a document
    assert pairs.retriever.bundle.text_weights.words_of_users == 0.0


def test_the_evaluators_read_one_side_as_users(pairs):
    held_out = pairs.dataset.queries("test")["user_id"].to_list()
    written = dict(pl.read_parquet(pairs.folder / "items.parquet").select("item_id", "text").rows())
    relevant = {query: [item for item in written if written[item] == written[query]] for query in held_out}
    assert evaluate_retrieval(pairs.retriever, pairs.asked, relevant, user_column="text").ndcg > 0.5
    sides = [pairs.asked[query] for query in held_out], [written[query] for query in held_out]
    both_ways = evaluate_translation(pairs.retriever, *sides, user_column="text")
    assert min(both_ways.source_to_target, both_ways.target_to_source) > 0.5
    assert evaluate_triplets(pairs.retriever, *sides, sides[1][1:] + sides[1][:1], user_column="text").accuracy > 0.9
    alike = [len({*one.split()} & {*other.split()}) for one, other in zip(sides[1], sides[1][::-1], strict=True)]
    assert evaluate_similarity(pairs.retriever, sides[0], sides[1][::-1], alike, user_column="text").spearman > 0.3
    assert evaluate_translation(pairs.retriever, *sides).source_to_target < 0.1  # no item has any of these words


def test_the_evaluators_compare_whole_texts_with_users_whose_vectors_are_cut(pairs):
    bundle, held_out = pairs.retriever.bundle, pairs.dataset.queries("test")["user_id"].to_list()
    model, vectors = narrowed(bundle.model, torch.from_numpy(bundle.item_vectors), 16)
    index = ItemIndex.build(np.ascontiguousarray(vectors.numpy(), np.float32), kind="exact")
    narrow = Retriever(replace(bundle, model=model, item_vectors=index.vectors().numpy(), index=index), "id")
    written = dict(pl.read_parquet(pairs.folder / "items.parquet").select("item_id", "text").rows())
    sides = [pairs.asked[query] for query in held_out], [written[query] for query in held_out]
    assert evaluate_translation(narrow, *sides, user_column="text").source_to_target > 0.4
