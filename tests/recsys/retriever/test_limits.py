"""Every path leaves out what is masked or not available, and keeps its promise of k beside limits and diversity."""

import polars as pl
import pytest

from recsys.answers import Mask
from recsys.data import as_source
from recsys.errors import InputError
from recsys.retriever import Retriever, with_metadata
from serving.batch_scoring import score

HISTORIES = [["i00001", "i00002"], ["i00003"], []]


@pytest.fixture(scope="module")
def today(small_run):
    """Items of which every third is gone."""
    gone = pl.when(pl.int_range(pl.len()) % 3 == 0).then(1_000).otherwise(None)
    return small_run.items.with_columns(available_until=gone)


@pytest.fixture(scope="module")
def bundle(small_run):
    return small_run.run / "bundle"


def test_what_is_masked_is_nowhere(retriever, bundle):
    best = retriever.recommend(HISTORIES, k=5)
    masked = tuple(best.item_ids.explode().unique())
    limited = retriever.limited(clock=None, mask=Mask(version=4, item_ids=(*masked, "unknown")))
    answers = limited.recommend(HISTORIES, k=20)
    similar, words = limited.similar_items(["i00001"], k=20), limited.search_text(["harbour"], k=20)
    for answer in (answers, similar, words):
        assert not set(answer.item_ids.explode()) & set(masked)
        assert answer.item_ids.list.len().eq(20).all()
        assert answer.mask_version == 4
    assert retriever.recommend(HISTORIES, k=5).item_ids.equals(best.item_ids)
    with pytest.raises(InputError, match="item ids"):
        retriever.limited(clock=None, mask=Mask(item_ids=(1, 2)))


def test_what_is_masked_is_not_similar_either(retriever):
    best = retriever.similar_items(["i00001"], k=5).item_ids[0].to_list()
    limited = retriever.limited(clock=None, mask=Mask(item_ids=tuple(best[:3])))
    assert limited.similar_items(["i00001"], k=2).item_ids[0].to_list() == best[3:]


def test_only_and_where_hold_together(retriever, small_run):
    listed = small_run.items.head(40)
    eligible = set(listed.filter(pl.col("year") >= 1980)["item_id"])
    assert 0 < len(eligible) < 40
    only = [*listed["item_id"], "unknown"]
    answers = retriever.recommend(HISTORIES, k=40, exclude_seen=False, only=only, where=[("year", ">=", 1980)])
    assert [set(items) for items in answers.item_ids] == [eligible] * len(HISTORIES)


def test_what_is_not_available_is_nowhere_and_scoring_remembers_its_time(bundle, today, small_run, tmp_path):
    retriever = Retriever.load(bundle, items=today)
    gone = set(today.drop_nulls("available_until")["item_id"])
    assert not set(retriever.recommend(HISTORIES, k=50).item_ids.explode()) & gone
    assert set(retriever.limited(clock=lambda: 999.0).recommend(HISTORIES, k=50).item_ids.explode()) & gone
    assert set(retriever.limited(clock=None).recommend(HISTORIES, k=50).item_ids.explode()) & gone
    mask = Mask(item_ids=("i00005",))
    events = str(small_run.folder / "events.parquet")
    score(retriever, tmp_path / "recs", events=events, k=20, mask=mask)
    items = pl.read_parquet(tmp_path / "recs" / "part-*.parquet")["item_id"]
    assert not set(items) & (gone | {"i00005"})
    state = (tmp_path / "recs" / "state.json").read_bytes()
    score(retriever, tmp_path / "recs", events=events, k=20, mask=mask)  # continues, although time has passed
    assert (tmp_path / "recs" / "state.json").read_bytes() == state
    with pytest.raises(InputError, match="another mask"):
        score(retriever, tmp_path / "recs", events=events, k=20)


@pytest.mark.parametrize("diversity", [0.0, 0.4])
@pytest.mark.parametrize("per", [None, {"genre": 2}, {"genre": 1, "tags": 2}])
def test_limits_keep_the_promise_of_k(retriever, small_run, per, diversity):
    options = {"k": 10, "per": per, "diversity": diversity, "where": [("year", ">=", 1950)]}
    answers = retriever.recommend(HISTORIES, **options)
    columns = small_run.items.select("item_id", "genre", "tags", "year")
    for history, items, reason in zip(HISTORIES, answers.item_ids, answers.reasons, strict=True):
        shown = items.to_frame("item_id").join(columns, on="item_id", how="left", maintain_order="left")
        assert shown["item_id"].n_unique() == shown.height
        assert not set(shown["item_id"]) & set(history)
        assert shown["year"].min() >= 1950
        for column, most in (per or {}).items():
            values = shown[column].explode() if column == "tags" else shown[column]
            assert values.drop_nulls().value_counts()["count"].max() <= most
        if shown.height < 10:
            assert "short" in reason
            assert per is not None
    alone = [retriever.recommend([history], **options).item_ids[0] for history in HISTORIES]
    assert [items.to_list() for items in alone] == answers.item_ids.to_list()


def test_a_limit_looks_further_than_the_first_candidates(retriever, small_run):
    genres = small_run.items["genre"].n_unique()
    answers = retriever.recommend([["i00001"]], k=genres, per={"genre": 1})
    assert answers.item_ids.list.len().to_list() == [genres]
    short = retriever.recommend([["i00001"]], k=genres + 1, per={"genre": 1})
    assert short.item_ids[0].to_list() == answers.item_ids[0].to_list()
    assert "short" in short.reasons[0]


def test_a_baseline_takes_limits_but_no_diversity(baseline_bundles):
    retriever = Retriever.load(next(iter(baseline_bundles.values())))
    assert retriever.recommend([["i00001"]], k=3, per={"genre": 1}).item_ids.list.len().to_list() == [3]
    with pytest.raises(InputError, match="baseline"):
        retriever.recommend([["i00001"]], diversity=0.5)


def test_an_empty_tree_is_an_error_and_an_empty_list_no_condition(retriever):
    assert retriever.recommend(HISTORIES, where=[]).item_ids.equals(retriever.recommend(HISTORIES).item_ids)
    with pytest.raises(InputError, match=r"where=\{\}"):
        retriever.recommend(HISTORIES, where={})


@pytest.mark.parametrize("clock", [None, lambda: 0.0])
def test_what_a_refresh_removed_is_nowhere_whatever_the_time(bundle, small_run, clock):
    whole = Retriever.load(bundle)
    cut, _ = with_metadata(whole.bundle, items=as_source(small_run.items.head(100), "items"), complete=True)
    retriever = Retriever(cut, whole.bundle_id).limited(clock=clock)
    removed = set(retriever.bundle.items.filter(pl.col("removed_from_catalogue"))["item_id"])
    assert removed
    for answers in (
        retriever.recommend(HISTORIES, k=50), retriever.similar_items(["i00001"], k=50),
        retriever.search_text(["harbour"], k=50), retriever.recommend(HISTORIES, k=50, only=list(removed)),
    ):  # fmt: skip
        assert not set(answers.item_ids.explode().drop_nulls()) & removed
