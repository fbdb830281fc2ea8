import re

from recsys.metrics import Interval
from training.evaluation import SliceFigures
from training.report import charts

FIGURE = Interval(0.1234, 0.1, 0.2)


def test_a_mark_says_its_figures_and_texts_are_escaped():
    drawn = charts.slices(
        [SliceFigures(name="<new> & old", num_queries=9, methods={"model": FIGURE})], ["model"], "NDCG@10"
    )
    assert "<title>this model, &lt;new&gt; &amp; old: NDCG@10 0.1234 (95%: 0.1000 to 0.2000)</title>" in drawn
    assert "<new>" not in drawn


def test_coordinates_are_short_and_figures_are_not():
    drawn = charts.comparison({"model": FIGURE, "item_knn": Interval(0.15, 0.1, 0.2)}, "NDCG@10")
    assert ">0.1234</text>" in drawn
    assert "http" not in drawn


def test_text_and_axes_follow_the_readers_colours():
    drawn = charts.comparison({"model": FIGURE}, "NDCG@10")
    fills = re.findall(r'<text[^>]* fill="([^"]+)"', drawn)
    assert fills
    assert all(fill.startswith("var(--") for fill in fills)
    assert 'fill="var(--blue)"' in drawn


def test_a_phone_gets_a_narrower_drawing_with_other_ids():
    wide, narrow = (charts.deciles({"training events": [0.1] * 10}, width) for width in (charts.DESKTOP, charts.PHONE))
    widths = [float(re.search(r'viewBox="0 0 ([\d.]+)', drawn)[1]) for drawn in (wide, narrow)]
    assert widths[0] > 700
    assert widths[1] <= 392  # what a screen of 420 pixels leaves
    assert not {*re.findall(r' id="([^"]+)"', wide)} & {*re.findall(r' id="([^"]+)"', narrow)}


def test_every_chart_fits_a_phone():
    slices = [SliceFigures(name="head items (half of the events)", num_queries=9, methods={"model": FIGURE})]
    for drawn in (
        charts.comparison({"model": FIGURE}, "NDCG@10", charts.PHONE),
        charts.slices(slices, ["model"], "NDCG@10", charts.PHONE),
    ):
        assert float(re.search(r'viewBox="0 0 ([\d.]+)', drawn)[1]) <= 392


def test_one_epoch_is_a_curve_too(curve):
    drawn = charts.curve(curve([0.1]).epochs, [2.5], "Loss", form=".2f", best_epoch=1)
    assert "<title>epoch 1: 2.50</title>" in drawn


def test_a_map_has_no_text_so_that_it_can_be_scaled():
    points = [{"x": 0.0, "y": 1.0, "colour": 3, "tip": "a"}, {"x": 1.0, "y": 0.0, "colour": 90, "tip": "b"}]
    drawn = charts.item_map(points, None)
    assert "<text" not in drawn
    assert charts.item_map(points, None) == drawn
    named = charts.item_map([{**point, "colour": "u"} for point in points], {"u": "#1d5fae"})
    assert named.count('fill="var(--blue)"') == 2
    assert "<title>a</title>" in named
