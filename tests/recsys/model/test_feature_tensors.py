from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch

from recsys.config import FeatureConfig
from recsys.data.feature_kinds import fit_feature
from recsys.data.jagged import Jagged
from recsys.model.feature_tensors import ColumnUpdate, FeatureTable, id_rows
from tests.small_models import PLAIN

FRAME = pl.DataFrame(
    {
        "genre": ["a", "b", None, "a"],
        "tags": [["x", "y"], [], None, ["y", "z", "x"]],
        "year": [1990.0, None, 2000.0, 2010.0],
        "title": ["the red house", "", None, "a house"],
        "vector": [[1.0, 2.0, 3.0], [0.0, 0.0, 0.0], None, [4.0, 5.0, 6.0]],
    },
    schema_overrides={"vector": pl.List(pl.Float32)},
)
KINDS = {"genre": "categorical", "tags": "multi_categorical", "year": "numeric", "title": "text", "vector": "vector"}
TRANSFORMS = tuple(
    fit_feature(FeatureConfig(name=name, kind=kind), FRAME.get_column(name)) for name, kind in KINDS.items()
)
ENCODED = pl.DataFrame([transform.encode(FRAME.get_column(transform.name)) for transform in TRANSFORMS])


def test_take_equals_the_frame_row_by_row():
    table = FeatureTable.from_frame(TRANSFORMS, ENCODED)
    rows = np.array([4, 0, 2, 4, 1, 3])
    features = table.take(rows)
    assert features.bags.keys == ["genre", "tags", "title"]
    for name in features.bags.keys:
        bag = features.bags[name]
        values, offsets = bag.values(), [0, *bag.lengths().cumsum(0).tolist()]
        for number, row in enumerate(rows):
            expected = [] if row == 0 else ENCODED.get_column(name)[int(row) - 1].to_list()
            assert values[offsets[number] : offsets[number + 1]].tolist() == expected
    for number, row in enumerate(rows):
        numbers = ENCODED.row(int(row) - 1, named=True)
        expected = [0.0] * 5 if row == 0 else [*numbers["year"], *numbers["vector"]]
        assert features.dense[number].tolist() == expected
    assert features.dense.dtype == torch.float32
    assert features.bags.values.dtype == torch.int64


@pytest.mark.parametrize("names", [["year", "vector"], ["tags"], []])
def test_without_bags_or_dense_columns(names):
    transforms = tuple(transform for transform in TRANSFORMS if transform.name in names)
    features = FeatureTable.from_frame(transforms, ENCODED).take(np.array([1, 0]))
    assert (features.bags is None) == ("tags" not in names)
    assert (features.dense is None) == ("year" not in names)


def test_no_rows_and_no_table():
    features = FeatureTable.from_frame(TRANSFORMS, ENCODED).take(np.empty(0, np.int64))
    assert features.bags.values.numel() == 0
    assert features.dense.shape == (0, 5)
    empty = FeatureTable.from_frame(TRANSFORMS, ENCODED.head(0)).take(np.zeros(2, np.int64))  # users without a file
    assert empty.bags.offsets.tolist() == [[0] * 3] * 3
    assert empty.dense.tolist() == [[0.0] * 5] * 2


def test_to_another_device_keeps_everything():
    features = FeatureTable({"a": Jagged.from_rows([[], [1, 2]])}, np.ones((2, 3), np.float32)).take(np.array([1, 0]))
    moved = features.to(torch.device("cpu"))
    assert moved.bags.values.tolist() == [1, 2]
    assert moved.dense.tolist() == features.dense.tolist()
    nothing = FeatureTable({}, None).take(np.array([0])).to(torch.device("cpu"))
    assert (nothing.bags, nothing.dense) == (None, None)


def test_id_rows():
    keyed = id_rows(torch.tensor([5, 0, 5]))
    assert keyed.keys == ["id"]
    assert keyed["id"].values().tolist() == [5, 0, 5]
    assert keyed["id"].lengths().tolist() == [1, 1, 1]


def test_updated_rows_are_those_of_a_frame_with_the_new_values():
    """Every kind, some rows of it, unknown and repeated rows too."""
    spec = replace(PLAIN, user_transforms=TRANSFORMS)
    table, rows = FeatureTable.of_users(spec, ENCODED), np.array([4, 0, 2, 4, 1, 3])
    updates, changed = [], [[None] * len(TRANSFORMS) if row == 0 else [*ENCODED.row(row - 1)] for row in rows.tolist()]
    for number, transform in enumerate(TRANSFORMS):
        at = np.array([(number + 1) % 6, number])
        values = ENCODED.get_column(transform.name).gather([3, 1])
        updates.append(ColumnUpdate(transform.name, at, values))
        for row, value in zip(at.tolist(), values, strict=True):
            changed[row][number] = value
    updated = table.updated(rows, spec, updates)
    for row, (wanted, start) in enumerate(zip(changed, table.dense[rows], strict=True)):
        dense = 0
        for transform, value in zip(TRANSFORMS, wanted, strict=True):
            if transform.is_bag:
                assert updated.bags[transform.name][row].tolist() == ([] if value is None else list(value))
            else:
                expected = start[dense : dense + transform.size] if value is None else np.array(value, np.float32)
                np.testing.assert_array_equal(updated.dense[row, dense : dense + transform.size], expected)
                dense += transform.size
    np.testing.assert_array_equal(table.dense, FeatureTable.from_frame(TRANSFORMS, ENCODED).dense)


def test_a_user_is_known_by_any_value_that_training_has_seen():
    frame = pl.DataFrame([
        transform.encode(pl.Series(values, dtype=FRAME.schema[transform.name], strict=False))
        for transform, values in zip(TRANSFORMS, [
            ["a", "new", None, None, None, None], [None, ["new"], ["x"], None, None, None],
            [None, None, None, 1990.0, None, None], ["", "?!", None, None, "red", None],
            [None, [0.0, 0.0, 0.0], None, None, None, [1.0, 0.0, 0.0]],
        ], strict=True)
    ])  # fmt: skip
    table = FeatureTable.of_users(replace(PLAIN, user_transforms=TRANSFORMS), frame)
    assert table.is_known.tolist() == [False, True, False, True, True, True, True]


def test_columns_that_both_towers_read_become_features_of_items():
    title, year = TRANSFORMS[3], TRANSFORMS[2]
    spec = replace(PLAIN, item_transforms=TRANSFORMS, user_transforms=(year, title), shared=("title",))
    users = FeatureTable.of_users(spec, ENCODED)
    assert users.bags == {}
    assert users.own.dense.shape == (5, 2)
    rows = users.take(np.array([1]))
    assert rows.as_items.bags["title"].values().tolist() == ENCODED["title"][0].to_list()
    assert rows.as_items.bags["genre"].values().tolist() == []
    items = FeatureTable.from_frame(TRANSFORMS, ENCODED)
    both = items.take_with(np.array([2, 0]), users, np.array([4]), distinct=True)
    assert both.bags["title"].lengths().tolist() == [0, 0, len(ENCODED["title"][3])]
    table_rows = both.bags.distinct("title")[both.bags["title"].values()]
    assert table_rows.tolist() == ENCODED["title"][3].to_list()
    assert both.dense.shape == (3, users.as_items.dense.shape[1])
    assert not both.dense[2].any()


@pytest.mark.parametrize("names", [{"title"}, {"title", "vector"}, {"year"}, set()])
def test_only_some_features_are_left_and_the_others_are_empty(names):
    table = FeatureTable.from_frame(TRANSFORMS, ENCODED)
    kept = table.only(names, TRANSFORMS)
    for name, bag in kept.bags.items():
        expected = table.bags[name] if name in names else Jagged.from_rows([[]] * 5)
        assert bag.values.tolist() == expected.values.tolist()
        assert bag.offsets.tolist() == expected.offsets.tolist()
    year, vector = kept.dense[:, :2], kept.dense[:, 2:]
    assert (year == table.dense[:, :2]).all() if "year" in names else not year.any()
    assert (vector == table.dense[:, 2:]).all() if "vector" in names else not vector.any()
    assert kept.take(np.arange(5)).dense.shape == table.dense.shape
