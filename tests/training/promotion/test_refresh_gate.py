"""The short gate refuses what a refresh can break."""

from dataclasses import replace

import polars as pl
import pytest

from recsys.bundle import load_bundle
from recsys.config import GateConfig
from recsys.retriever import GoldenAnswers, ItemChanges, Retriever, with_metadata
from recsys.search import ItemIndex
from training.promotion.refresh_gate import judge_refresh


@pytest.fixture
def parent(small_run):
    return Retriever(*load_bundle(small_run.run / "bundle"))


@pytest.fixture
def judged(parent, records):
    """A function: a bundle to the names of the checks that it fails, and the lines of all."""
    history = pl.Series(GoldenAnswers.read(records).history)

    def judge(bundle):
        changes = ItemChanges.between(parent.bundle.items, bundle.items)
        checks = list(judge_refresh(parent, Retriever(bundle, "id"), history, changes, GateConfig()))
        return [check.name.partition(",")[0] for check in checks if not check.passed], "\n".join(map(str, checks))

    return judge


def test_a_sound_refresh_passes(parent, judged, small_run):
    new = small_run.items.head(3).with_columns(item_id=pl.Series(["a", "b", "c"]))
    failed, lines = judged(with_metadata(parent.bundle, items=new)[0])
    assert not failed, lines
    assert " 0 golden queries" not in lines


def test_moved_vectors_are_refused(parent, judged, shuffled):
    vectors = shuffled(1.0)(parent.bundle.item_vectors.copy())
    bundle = replace(parent.bundle, item_vectors=vectors, index=ItemIndex.build(vectors, kind="exact"))
    assert judged(bundle)[0] == ["change of an unchanged item's score", "share of the golden answers given again"]


def test_lost_users_are_refused(parent, judged):
    assert judged(replace(parent.bundle, users=parent.bundle.users[1:]))[0] == ["items and users lost"]


def test_a_catalogue_that_was_cut_is_refused(parent, judged, small_run):
    bundle, _ = with_metadata(parent.bundle, items=small_run.items.head(20), complete=True)
    assert judged(bundle)[0][0] == "share of the items removed"


def test_an_index_that_misses_items_is_refused(parent, judged, shuffled):
    index = ItemIndex.build(shuffled(1.0)(parent.bundle.item_vectors.copy()), kind="ivf")
    assert "recall of the index" in judged(replace(parent.bundle, index=index))[0]
