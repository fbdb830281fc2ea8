"""What a table changes in a catalogue, row by row."""

import numpy as np
import polars as pl
import pytest

from recsys.answers import REMOVED
from recsys.data import Encoder, Transform
from recsys.retriever import changed_rows
from recsys.retriever.changed_rows import ChangedRows, with_rows

ITEMS = pl.DataFrame({"item_id": ["b", "d", "a"], "title": ["B", "D", "A"], "year": [1, None, 3]})
TRANSFORMS = (Transform("title", "text", 4),)
NONE = np.empty(0, np.int64)


def encoder_of(items, transforms=TRANSFORMS):
    columns = {"user_id": "user_id", "item_id": "item_id", "time": None}
    return Encoder(items["item_id"], 2, transforms, (), columns, "String")


def changed(table, items=ITEMS, *, base=None, earlier=NONE, complete=False, transforms=TRANSFORMS):
    base = items if base is None else base
    return ChangedRows.of(
        items, encoder_of(items, transforms), table, base=base, earlier=np.array(earlier, np.int64), complete=complete
    )


def test_rows_that_are_as_before_are_none():
    assert not len(changed(ITEMS).positions)
    assert changed(ITEMS).items.equals(ITEMS)
    assert not len(changed(ITEMS.select("item_id", "title")).positions)  # what a table lacks stays


def test_new_items_follow_by_id_and_changed_ones_keep_their_place():
    change = changed(pl.DataFrame({"item_id": ["z", "a", "c", "b"], "title": ["Z", "A2", "C", "B"]}))
    assert change.positions.tolist() == [3, 4, 5]
    assert change.rows["title"].to_list() == ["A2", "C", "Z"]
    assert change.items["item_id"].to_list() == ["b", "d", "a", "c", "z"]
    assert change.items["year"].to_list() == [1, None, 3, None, None]
    assert change.items["title"].to_list() == ["B", "D", "A2", "C", "Z"]


def test_new_items_are_left_out_where_the_model_cannot_place_them():
    change = changed(pl.DataFrame({"item_id": ["z", "a"], "title": ["Z", "A2"]}), transforms=())
    assert change.positions.tolist() == [3]
    assert change.items.height == 3


def test_a_new_column_is_there_even_if_it_is_empty():
    change = changed(ITEMS.with_columns(shelf=pl.lit(None, pl.String)))
    assert not len(change.positions)
    assert change.items["shelf"].to_list() == [None] * 3
    assert changed(ITEMS[:1].with_columns(shelf=pl.lit("S"))).items["shelf"].to_list() == ["S", None, None]


def test_a_complete_table_removes_the_others_until_they_come_back():
    fewer = changed(ITEMS[1:], complete=True).items
    assert fewer[REMOVED].to_list() == [True, False, False]
    back = changed(ITEMS[:1], fewer)
    assert (back.positions.tolist(), back.items.columns) == ([1], ITEMS.columns)


def test_what_an_earlier_table_said_is_forgotten():
    first = changed(pl.DataFrame({"item_id": ["a", "n"], "title": ["A2", "N"], "year": [9, 9]}))
    second = changed(
        pl.DataFrame({"item_id": ["d"], "title": ["D2"]}), first.items, base=ITEMS, earlier=first.positions
    )
    assert second.positions.tolist() == [2, 3]
    assert second.items["title"].to_list() == ["B", "D2", "A", "N"]
    assert second.items["year"].to_list() == [1, None, 3, 9]
    assert second.items[REMOVED].to_list() == [False, False, False, True]  # it is in no table any more


@pytest.mark.parametrize("few", [0, 10])
@pytest.mark.parametrize("positions", [[2], [1, 3], [3, 4, 5], []])
def test_rows_are_put_in_place(positions, few, monkeypatch):
    monkeypatch.setattr(changed_rows, "FEW", few)
    rows = pl.DataFrame({"item_id": [f"r{one}" for one in positions]}, schema={"item_id": pl.String})
    frame = with_rows(ITEMS.select("item_id"), np.array(positions, np.int64), rows)
    expected = dict(enumerate(["b", "d", "a"], start=1)) | {one: f"r{one}" for one in positions}
    assert frame["item_id"].to_list() == list(expected.values())
