import polars as pl
import pytest

from recsys.answers import Passage, Recommendations, as_passages

ITEMS = pl.DataFrame({
    "item_id": ["a.md:1-2", "b.md:7-9"], "text": ["A\n\none", "B\n\ntwo"], "title": ["A", "B"],
    "file": ["a.md", "b.md"], "first_line": [1, 7], "last_line": [2, 9],
})  # fmt: skip


def answers(ids, scores, reason=None):
    return Recommendations(
        pl.Series([ids], dtype=pl.List(pl.String)), pl.Series([scores], dtype=pl.List(pl.Float32)),
        pl.Series([reason], dtype=pl.String), bundle_id="x",
    )  # fmt: skip


def test_a_passage_says_what_it_is_and_where_it_comes_from():
    passages = as_passages(answers(["b.md:7-9", "a.md:1-2"], [0.5, 0.25]), ITEMS)
    assert list(passages) == [
        Passage("B\n\ntwo", "b.md:7-9", "B", 0.5, "b.md:7-9"), Passage("A\n\none", "a.md:1-2", "A", 0.25, "a.md:1-2"),
    ]  # fmt: skip
    assert (len(passages), passages[1].heading, passages.reason) == (2, "A", None)
    assert str(passages) == "[1] b.md:7-9\nB\n\ntwo\n\n[2] a.md:1-2\nA\n\none"


def test_nothing_found_says_why():
    passages = as_passages(answers([], [], "no items: no word"), ITEMS)
    assert (list(passages), passages.reason, str(passages)) == ([], "no items: no word", "no items: no word")


def test_items_that_are_no_passages_are_refused():
    with pytest.raises(
        ValueError, match="the items have no column file, last_line; expected passages, as `recsys init"
    ):
        as_passages(answers([], []), ITEMS.drop("file", "last_line"))
