"""One answer to look at agrees with the retriever, names its reasons, and says what is wrong with the question."""

import polars as pl
import pytest

from recsys.actions.answers import _first_user, recommend
from recsys.answers import FALLBACK
from recsys.errors import InputError


@pytest.fixture
def look(small_run):
    """A function: an answer of the small bundle."""

    def ask(user=None, history=None, *, events=None, k=4):
        return recommend(str(small_run.run / "bundle"), user, history, events, k, "cpu", None)

    return ask


def test_a_user_of_the_log_gets_what_the_retriever_answers(small_run, retriever, look):
    answer = look("u00003", events=str(small_run.folder / "events.parquet"))
    expected = retriever.recommend(user_ids=["u00003"], k=4)
    assert [item.item_id for item in answer.recommendations] == expected.item_ids[0].to_list()
    assert [item.score for item in answer.recommendations] == expected.scores[0].to_list()
    titles = dict(retriever.bundle.items.select("item_id", "title").iter_rows())
    history = small_run.events.filter(user_id="u00003").sort("timestamp", maintain_order=True)["item_id"].to_list()
    assert [item.item_id for item in answer.history] == history
    assert [item.title for item in answer.recommendations] == [titles[item.item_id] for item in answer.recommendations]
    for item in answer.recommendations:
        told = retriever.explain(user_id="u00003", item_id=item.item_id).contributions
        assert [reason.item_id for reason in item.why] == told.filter(pl.col("contribution") > 0)["item_id"][
            :2
        ].to_list()


def test_a_person_sees_titles_scores_and_reasons(look):
    answer = look(history=["i00003", "i00007"])
    first, _, heading, *rows = answer.lines()
    assert first == f"a history of 2 items; last: {answer.history[0].title}, {answer.history[1].title}"
    assert heading.split() == ["#", "item", "score", "because", "of"]
    text = " ".join(" ".join(rows).split())
    for item in answer.recommendations:
        assert item.title in text
        assert f"{item.score:.3f}" in text
    assert any(item.why for item in answer.recommendations)


def test_an_unknown_history_gets_the_fallback_without_reasons(look):
    answer = look(history=["unknown"])
    assert answer.reason == FALLBACK
    assert answer.lines()[-1] == FALLBACK
    assert not any(item.why for item in answer.recommendations)
    assert len(answer.recommendations) == 4


@pytest.mark.parametrize(
    ("question", "message"),
    [
        ({}, "give either --user ID with --events LOG, or --history"),
        ({"user": "u00001", "history": ["i00001"]}, "give either --user"),
        ({"user": "u00001"}, "--user needs --events"),
        ({"user": "nobody", "events": "{log}"}, "no user nobody in the log at .*; expected one of its 300 users"),
    ],
)
def test_a_bad_question_is_one_clear_line(small_run, look, question, message):
    log = str(small_run.folder / "events.parquet")
    question = {name: value.format(log=log) if isinstance(value, str) else value for name, value in question.items()}
    with pytest.raises(InputError, match=message):
        look(**question)


def test_ids_are_read_in_the_type_of_the_model():
    from recsys.actions.answers import _as_ids

    assert _as_ids(["1", "20"], pl.Int64(), "--history").to_list() == [1, 20]
    with pytest.raises(InputError, match="--history has 'x'; expected ids of type Int64"):
        _as_ids(["1", "x"], pl.Int64(), "--history")


def test_a_look_at_scores_that_somebody_takes_away_is_no_failure(tmp_path):
    assert _first_user(tmp_path) is None
    pl.DataFrame({"user_id": ["a"]}).write_parquet(tmp_path / "part-00001.parquet")
    assert _first_user(tmp_path) == "a"
    for content in (b"", b"PAR1 and no more"):
        (tmp_path / "part-00000.parquet").write_bytes(content)
        assert _first_user(tmp_path) is None
