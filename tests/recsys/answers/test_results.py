"""Answers can be read: why one is short or degraded, as a table, as text and as HTML."""

import numpy as np
import polars as pl
import pytest

from recsys.answers import FALLBACK, Ranking, Recommendations, item_titles
from recsys.answers.results import SHOWN_ROWS


@pytest.mark.parametrize(
    ("positions", "fallback", "reason"),
    [
        ([3, 1, 2], False, None),
        ([3, 1, 0], False, "short: only 2 eligible items"),
        ([0, 0, 0], False, "short: only 0 eligible items"),
        ([3, 1, 2], True, FALLBACK),
        ([3, 0, 0], True, f"{FALLBACK}; short: only 1 eligible items"),
    ],
)
def test_reasons(positions, fallback, reason):
    ranking = Ranking(np.array([positions], np.int32), np.zeros((1, 3), np.float32), np.array([fallback]))
    assert ranking.reasons(3).to_list() == [reason]


def test_a_row_as_wide_as_the_catalogue_is_short_of_a_larger_k():
    ranking = Ranking(np.array([[1, 2]], np.int32), np.zeros((1, 2), np.float32), np.array([False]))
    assert ranking.reasons(5).to_list() == ["short: only 2 eligible items"]


def test_an_empty_batch_has_no_reasons():
    ranking = Ranking(np.zeros((0, 3), np.int32), np.zeros((0, 3), np.float32), np.zeros(0, bool))
    assert ranking.reasons(3).to_list() == []
    assert ranking.counts.tolist() == []


CATALOGUE = pl.DataFrame({"item_id": ["a", "b", "c"], "title": ["The Cat", "<b>Dogs</b> & more", None]})


def answers(titles=CATALOGUE, item_ids=(["b", "a"], [], ["c"]), reasons=(None, "short: only 0 eligible items", None)):
    lists = [list(row) for row in item_ids]
    return Recommendations(
        item_ids=pl.Series("item_ids", lists, dtype=pl.List(pl.String)),
        scores=pl.Series("scores", [[2.0 - rank for rank in range(len(row))] for row in lists], pl.List(pl.Float32)),
        reasons=pl.Series("reasons", list(reasons), dtype=pl.String),
        bundle_id="0123456789abcdef",
        titles=titles,
    )


def test_a_frame_has_a_row_per_recommended_item():
    frame = answers().to_frame()
    assert frame.columns == ["query", "rank", "item_id", "title", "score"]
    assert frame.rows() == [(0, 1, "b", "<b>Dogs</b> & more", 2.0), (0, 2, "a", "The Cat", 1.0), (2, 1, "c", None, 2.0)]
    assert answers(titles=None).to_frame().columns == ["query", "rank", "item_id", "score"]
    assert answers(item_ids=(), reasons=()).to_frame().height == 0


def test_its_text_says_what_it_is_and_what_is_missing():
    text = repr(answers())
    assert text.startswith("3 recommendations for 3 queries, by bundle 0123456789ab\n")
    assert "The Cat" in text
    assert "query 1: short: only 0 eligible items" in text


def test_its_text_is_short_however_many_answers_there_are():
    many = answers(titles=None, item_ids=[[str(item) for item in range(50)]] * 40, reasons=["odd"] * 40)
    text = repr(many)
    assert len(text.splitlines()) < SHOWN_ROWS + 15
    assert "... and 1,980 more rows in to_frame()" in text
    assert "... and 37 more in reasons" in text


def test_its_html_is_escaped():
    page = answers(reasons=(None, "<script>", None))._repr_html_()
    assert "&lt;b&gt;Dogs&lt;/b&gt; &amp; more" in page
    assert "<b>" not in page
    assert "<script>" not in page
    assert page.count("<tr>") == 4


def test_titles_are_the_column_of_that_name():
    assert item_titles(pl.DataFrame({"item_id": [1], "year": [1999]})) is None
    assert item_titles(pl.DataFrame({"item_id": [1], "title": ["x"], "year": [1]})).rows() == [(1, "x")]
