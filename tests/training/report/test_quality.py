import polars as pl

from training.report import quality


def test_the_model_comes_first():
    assert [*quality.in_order({"ease": 1, "item_knn": 2, "model": 3, "popularity": 4})] == [
        "model", "ease", "item_knn", "popularity",
    ]  # fmt: skip


def test_duels_count_queries():
    per_query = pl.DataFrame({"model": [1.0, 0.5, 0.0, 0.2], "ease": [0.0, 0.5, 0.5, 0.1]})
    drawn = quality.duels(per_query, ["ease"])
    assert '<td class="figure">50.0%</td><td class="figure">25.0%</td><td class="figure">25.0%</td>' in drawn


def test_small_slices_are_marked(inputs):
    drawn = quality.slices(inputs)
    assert "60 <small>few: read with care</small>" in drawn
    assert 'class="desktop"' in drawn
    assert 'class="phone"' in drawn


def test_every_method_has_a_row_and_a_bar(inputs):
    drawn = quality.comparison(inputs)
    for name in ("this model", "EASE", "item-kNN", "popularity"):
        assert drawn.count(f"<title>{name}, NDCG@10") >= 2  # on a desktop and on a phone
