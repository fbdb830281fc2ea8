from dataclasses import replace

from recsys.metrics import Interval
from training.evaluation.record import SliceFigures
from training.report import charts

FIGURE = Interval(0.1234, 0.1, 0.2)


def test_a_mark_says_its_figures_and_texts_are_escaped():
    drawn = charts.slices(
        [SliceFigures(name="<new> & old", num_queries=9, methods={"model": FIGURE})], ["model"], "NDCG@10"
    )
    assert "<title>this model, &lt;new&gt; &amp; old: NDCG@10 0.1234 (95%: 0.1000 to 0.2000)</title>" in drawn
    assert "<new>" not in drawn


def test_coordinates_are_short_and_figures_are_not():
    drawn = charts.comparison({"model": FIGURE, "item_knn": replace(FIGURE, mean=0.15)}, "NDCG@10")
    assert ">0.1234</text>" in drawn
    assert "http" not in drawn


def test_one_epoch_is_a_curve_too():
    drawn = charts.curve([{"epoch": 1, "loss": 2.5}], "loss", "Loss", number=".2f", best_epoch=1)
    assert "<title>epoch 1: 2.50</title>" in drawn


def test_a_map_without_categories_is_coloured_by_number():
    points = [{"x": 0.0, "y": 1.0, "colour": 3, "tip": "a"}, {"x": 1.0, "y": 0.0, "colour": 90, "tip": "b"}]
    drawn = charts.item_map(points, categories=None)
    assert "training events" in drawn
    assert 'fill="url(#map-of-the-items-0)"' in drawn  # Vega numbers its gradients on from chart to chart
    assert charts.item_map(points, categories=None) == drawn
    named = [{**point, "colour": "u"} for point in points]
    assert ">u</text>" in charts.item_map(named, categories=["u"])
