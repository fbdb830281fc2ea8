from recsys.metrics import Interval
from training.report import html

FIGURE = Interval(0.5, 0.4, 0.6)


def test_texts_are_escaped_and_cells_are_html():
    drawn = html.table(["<a>", "b"], [["<i>x</i>", "1"]])
    assert '<th class="word">&lt;a&gt;</th><th class="figure">b</th>' in drawn
    assert '<td class="word"><i>x</i></td><td class="figure">1</td>' in drawn
    for made in (html.paragraph("<"), html.note("<"), html.card("<", "<", "<"), html.figure("<svg></svg>", "<")):
        assert "&lt;" in made
    assert html.swatch("a<b").endswith("a&lt;b</span>")


def test_the_best_of_a_column_is_bold():
    assert html.with_interval(FIGURE, True) == "<b>0.5000</b><small>0.4000–0.6000</small>"
    assert html.with_interval(FIGURE, False).startswith("0.5000<small>")


def test_links_lead_to_the_sections():
    made = html.page("a & b", "", "", "", {"One": "1", "Two & three": "2"}, footer="f & g")
    assert '<a href="#section-2">Two &amp; three</a>' in made
    assert '<section id="section-2"><h2>Two &amp; three</h2>' in made
    assert "<title>a &amp; b</title>" in made
