import polars as pl

from training.report.inputs import item_labels

ITEMS = pl.DataFrame({"item_id": [7, 8], "title": ["A", None], "name": ["x", "y"]})


def test_an_item_without_a_title_is_called_by_its_id():
    assert item_labels(ITEMS, None).to_list() == ["A", "8"]
    assert item_labels(ITEMS, "name").to_list() == ["x", "y"]
    assert item_labels(ITEMS.select("item_id"), None).to_list() == ["7", "8"]
    assert item_labels(ITEMS.with_columns(title=pl.lit([1])), None).to_list() == ["7", "8"]  # no text


def test_records_are_read_beside_the_training(inputs):
    assert inputs.evaluation.num_queries == inputs.queries.height == inputs.per_query.height == 60
    assert len(inputs.titles) == len(inputs.item_map.positions) == 30
    assert inputs.recipe.epochs == 1
