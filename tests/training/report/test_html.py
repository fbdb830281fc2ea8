from recsys.metrics import Interval
from training.report import html

FIGURE = Interval(0.5, 0.4, 0.6)


def test_texts_are_escaped_and_cells_are_html():
    drawn = html.table(["<a>", "b"], [["<i>x</i>", "1"]])
    assert '<th class="word">&lt;a&gt;</th><th class="figure">b</th>' in drawn
    assert '<td class="word"><i>x</i></td><td class="figure">1</td>' in drawn
    parts = (
        html.paragraph("<"), html.note("<"), html.card("<", "<", "<"), html.picture(lambda: "<svg></svg>", "<", "map"),
        html.verdict_banner("good", "<", "<"), html.legend({"<": "blue"}), html.details("<", ""),
    )  # fmt: skip
    for part in parts:
        assert "&lt;" in part
    assert html.swatch("a<b").endswith("a&lt;b</span>")


def test_what_can_be_typed_is_code():
    assert html.with_code("try `--set a<b` now") == "try <code>--set a&lt;b</code> now"


def test_the_best_of_a_column_is_bold():
    assert html.with_interval(FIGURE, True) == "<b>0.5000</b><small>0.4000–0.6000</small>"
    assert html.with_interval(FIGURE, False).startswith("0.5000<small>")


def test_a_figure_has_a_drawing_for_each_kind_of_screen():
    drawn = html.figure(lambda width: f"<svg>{width}</svg>", "a & b")
    assert '<div class="desktop"><svg>760</svg></div><div class="phone"><svg>250</svg></div>' in drawn
    assert "<figcaption>a &amp; b</figcaption>" in drawn


def test_links_lead_to_the_sections():
    page = html.page("a & b", {"Date": "today"}, "", [], {"One": "1", "Two & three": "2"}, footer="f & g")
    assert '<a href="#section-2">Two &amp; three</a>' in page
    assert '<section id="section-2"><h2>Two &amp; three</h2>' in page
    assert "<title>a &amp; b</title>" in page
    assert "<dt>Date</dt><dd>today</dd>" in page


def test_the_page_is_made_for_phones_and_dark_screens():
    page = html.page("a", {}, "", [], {}, footer="")
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in page
    assert "prefers-color-scheme: dark" in page
    assert "max-width: 640px" in page
