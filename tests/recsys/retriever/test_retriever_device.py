"""The retriever on another device: no tensor is left behind, few waits, and the answers of the CPU."""

import polars as pl
import pytest

from recsys.retriever import Retriever
from recsys.search import faiss_index
from tests.pretend_device import NAME, PretendDevice


@pytest.fixture
def elsewhere(monkeypatch):
    """A pretend device, which exists during a test and can be named as --device."""
    monkeypatch.setattr(faiss_index, "DEVICES", (*faiss_index.DEVICES, NAME))
    with PretendDevice() as device:
        yield device


def test_a_retriever_answers_on_another_device(small_run, retriever, histories, elsewhere):
    moved = Retriever.load(small_run.run / "bundle", events=small_run.folder / "events.parquet", device=NAME)
    moved.recommend(user_ids=histories["user_id"], k=20)  # makes the tables that are kept
    elsewhere.reset()
    moved.recommend(user_ids=histories["user_id"], k=20)
    assert elsewhere.waits.total() == 2, elsewhere.waits  # for the users' vectors, and for the answers
    filtered = {"user_ids": histories["user_id"][:9], "k": 20, "where": [("year", ">", 1960)]}
    alone = {"histories": [["i00001", "i00002"]], "k": 7, "exclude": ["i00003"]}
    for request in ({"user_ids": histories["user_id"], "k": 20}, filtered, alone):
        answers, expected = moved.recommend(**request), retriever.recommend(**request)
        assert answers.item_ids.equals(expected.item_ids)
        assert answers.scores.equals(expected.scores)
    assert moved.similar_items(["i00001"], k=5).item_ids.equals(retriever.similar_items(["i00001"], k=5).item_ids)
    assert moved.search_text(["harbour"], k=5).item_ids.equals(retriever.search_text(["harbour"], k=5).item_ids)
    explained, expected = (each.explain(["i00001", "i00002"], "i00003") for each in (moved, retriever))
    assert explained.contributions.equals(expected.contributions)


def test_newer_metadata_is_encoded_on_another_device(small_run, elsewhere):
    new = small_run.items.head(100).with_columns(item_id="new " + pl.col("item_id"))
    moved, plain = (Retriever.load(small_run.run / "bundle", items=new, device=name) for name in (NAME, "cpu"))
    request = {"histories": [["i00001"], ["new i00002", "i00007"]], "k": 100}
    assert moved.recommend(**request).item_ids.equals(plain.recommend(**request).item_ids)
    assert len(moved.bundle.item_vectors) == 301
