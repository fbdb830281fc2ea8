import re

import numpy as np
import polars as pl

from recsys.config import parse_config
from recsys.data.encoder import Encoder
from training.report import map_and_users

ITEMS = pl.DataFrame({"item_id": [7, 8], "title": ["A", None], "name": ["x", "y"], "tags": [["b", "a"], []]})


def test_the_map_is_coloured_by_the_first_categorical_column():
    named = {"features": {"item": [{"name": "title", "kind": "text"}, {"name": "name", "kind": "categorical"}]}}
    assert map_and_users.category_column(ITEMS, parse_config({"data": {"events": "x"}, **named}, "test")) == "name"
    without = parse_config({"data": {"events": "x"}}, "test")
    assert map_and_users.category_column(ITEMS, without) == "tags"
    assert map_and_users.category_column(ITEMS.select("item_id"), without) is None
    assert map_and_users.first_category(ITEMS["tags"]).to_list() == ["b", "none"]


def test_rare_values_become_other():
    values = pl.Series("value", [f"v{value:02}" for value in range(12) for _ in range(20 - value)])
    assert map_and_users.common_values(values) == [*(f"v{value:02}" for value in range(10)), "other"]
    assert map_and_users.common_values(pl.Series("value", ["b", "a"])) == ["a", "b"]


def test_the_rank_of_a_held_out_item():
    ranked = np.array([5, 3, 0], np.int32)
    assert map_and_users.standing(ranked, 3) == "rank 2"
    assert map_and_users.standing(ranked, 4) == "not among the first 3"
    assert map_and_users.standing(ranked, 0) == "not among the first 3"  # not in the catalogue; padding is no hit


def test_a_user_with_a_hit_a_miss_and_an_item_outside_the_catalogue():
    encoder = Encoder(pl.Series([10, 20, 30]), 3, (), (), {}, "int")
    labels = map_and_users.Labels(encoder, pl.Series(["a", "b & c", "d"]))
    ranked, positions = np.array([2, 0], np.int32), np.array([2, 3, 0], np.int32)
    box = map_and_users.user_box(map_and_users.ExampleUser("<u>", [10, 99], [20, 30, 98], positions, ranked), labels)
    assert "User &lt;u&gt;" in box
    assert "<ul><li>a</li><li>99 <small>not in the catalogue</small></li></ul>" in box
    assert '<ol><li class="hit">b &amp; c ✓ taken next</li></ol>' in box
    assert "b &amp; c (rank 1); d (not among the first 2); 98 <small>not in the catalogue</small> (not among" in box


def test_users_with_and_without_a_hit_are_shown(inputs):
    drawn = map_and_users.examples(inputs)
    boxes = drawn.split('<div class="user">')[1:]
    assert len(boxes) == map_and_users.EXAMPLES
    hits = [box.count("✓ taken next") > 0 for box in boxes]
    assert hits == sorted(hits, reverse=True)
    assert re.search(rf"Below: {sum(hits)} users? with a hit and {len(hits) - sum(hits)} without\.", drawn)
