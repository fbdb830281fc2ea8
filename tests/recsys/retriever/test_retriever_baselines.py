"""A baseline answers through the same calls as a model, and keeps the same promise."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import polars as pl
import pytest

from recsys import pyfunc
from recsys.answers import FALLBACK, POPULAR
from recsys.retriever import Retriever
from serving.batch_scoring import score
from training.drift.compare import compare_bundles
from training.drift.page import lines, render

NAMES = ["popularity", "item_knn", "ease"]


@pytest.fixture(scope="module")
def retrievers(small_run, baseline_bundles):
    return {name: Retriever.load(baseline_bundles[name], events=small_run.folder / "events.parquet") for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_random_requests_get_exactly_k_eligible_items_or_all_of_them(retrievers, items, name):
    rng, retriever = np.random.default_rng(3), retrievers[name]
    ids, years = items["item_id"].to_numpy(), items["year"].to_numpy()
    for _ in range(15):
        lists = [[*rng.choice(ids, rng.integers(0, 40), replace=False), "unknown"] for _ in range(8)]
        exclude = list(rng.choice(ids, int(rng.integers(0, 180)), replace=False))
        year, k, exclude_seen = int(rng.choice(years)), int(rng.integers(1, 250)), bool(rng.random() < 0.7)
        where = [("year", ">=", year)]
        answers = retriever.recommend(lists, k=k, exclude=exclude, where=where, exclude_seen=exclude_seen)
        everyone = set(ids[years >= year]) - set(exclude)
        for history, got, scores, reason in zip(lists, answers.item_ids, answers.scores, answers.reasons, strict=True):
            eligible = everyone - set(history) if exclude_seen else everyone
            assert set(got) <= eligible
            assert len(got) == len(set(got)) == len(scores) == min(k, len(eligible))
            assert scores.is_finite().all()
            assert (np.diff(scores) <= 0).all()
            assert (f"short: only {len(got)} eligible items" in (reason or "")) == (len(got) < k)
            assert (reason or "").startswith(FALLBACK) == (len(history) == 1)


@pytest.mark.parametrize("name", NAMES)
def test_batch_scoring_users_by_id_and_mlflow_agree(small_run, baseline_bundles, retrievers, histories, tmp_path, name):
    retriever = retrievers[name]
    users = histories["user_id"].head(30)
    answers = retriever.recommend(user_ids=users, k=7)
    assert answers.item_ids.to_list() == retriever.recommend(histories["item_id"].head(30), k=7).item_ids.to_list()
    assert answers.baseline == retriever.bundle.model.label
    assert f"of the baseline {answers.baseline}" in repr(answers)
    score(retriever, tmp_path / "recs", events=str(small_run.folder / "events.parquet"), k=7)
    written = pl.read_parquet(tmp_path / "recs" / "part-*.parquet").group_by("user_id", maintain_order=True)
    written = written.agg("item_id").sort("user_id").head(30)
    assert written["item_id"].to_list() == answers.item_ids.to_list()
    served = pyfunc._load_pyfunc(str(baseline_bundles[name]))
    predicted = served.predict(pd.DataFrame({"history": histories["item_id"].head(3).to_list(), "k": [7] * 3}))
    assert [list(row) for row in predicted["item_ids"]] == answers.item_ids.head(3).to_list()
    assert set(predicted["bundle_id"]) == {retriever.bundle_id}


def test_threads_can_share_a_retriever_of_a_baseline(baseline_bundles, histories):
    fresh = Retriever.load(baseline_bundles["ease"])

    def ask(start):
        answers = fresh.recommend(histories["item_id"][start : start + 40], k=20)
        return answers.item_ids.to_list(), fresh.similar_items(["i00001"]).item_ids.to_list()

    starts = [*range(0, 300, 40)] * 2
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(ask, starts))
    assert together == [ask(start) for start in starts]


def test_new_metadata_changes_filters_and_titles_only(small_run, baseline_bundles, retrievers, histories, tmp_path):
    later = small_run.items.with_columns(
        year=pl.lit(2099, small_run.items.schema["year"]), title="new " + pl.col("title")
    )
    new = later.head(1).with_columns(item_id=pl.lit("brand-new"))
    pl.concat([later.head(50), new]).write_parquet(tmp_path / "items.parquet")
    fresh = Retriever.load(
        baseline_bundles["item_knn"], items=tmp_path / "items.parquet", users=small_run.folder / "users.parquet"
    )
    assert fresh.metadata_digest is not None
    before, after = (r.recommend(histories["item_id"].head(20), k=10) for r in (retrievers["item_knn"], fresh))
    assert after.item_ids.to_list() == before.item_ids.to_list()
    filtered = fresh.recommend(histories["item_id"].head(20), k=100, where=[("year", "==", 2099)])
    assert set(filtered.item_ids.explode()) <= set(later["item_id"].head(50))
    assert filtered.to_frame()["title"].str.starts_with("new ").all()
    with pytest.raises(ValueError, match="'brand-new' is not in the catalogue"):
        fresh.similar_items(["brand-new"])


def test_a_model_and_a_baseline_can_be_compared(small_run, retriever, retrievers):
    histories = small_run.dataset.queries("test").select("user_id", "history")
    figures = compare_bundles(retrievers["ease"], retriever, histories)
    assert figures.neighbours is figures.mixed is None
    assert 0 < figures.overlap < 1
    assert lines(figures)[-1] == "A baseline has no vectors: there is nothing to mix."
    assert "of the neighbours stay" not in render(figures)
    same = compare_bundles(retrievers["ease"], retrievers["ease"], histories)
    assert (same.overlap, same.same_first) == (1, 1)


def test_an_answer_says_how_many_items_are_there_by_popularity(retrievers, items):
    answers = retrievers["item_knn"].recommend([["i00017"]], k=150)
    neighbours = len(retrievers["item_knn"].similar_items(["i00017"], k=200).item_ids[0])
    assert answers.reasons[0] == f"{POPULAR}: {150 - neighbours} of 150 items"
    assert retrievers["item_knn"].recommend([["i00017"]], k=neighbours).reasons[0] is None
