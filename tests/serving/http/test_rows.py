"""Rows of items carry what was asked for, and nothing twice."""

import polars as pl

from serving.http.rows import item_rows
from serving.service import Served


def test_columns_follow_the_figures(small_run):
    served = Served.load(small_run.run / "bundle", None, None, None, "cpu")
    items = small_run.items.head(2)
    scores = pl.Series([2.0, 1.0])
    rows = item_rows(served, items["item_id"], {"score": scores}, ["title", "item_id", "title"])
    assert rows == [
        {"item_id": item_id, "score": score, "title": title}
        for item_id, score, title in zip(items["item_id"], scores, items["title"], strict=True)
    ]
    assert item_rows(served, items["item_id"].clear(), {"score": scores.clear()}, ["title"]) == []
