import altair as alt
import pytest

from recsys.errors import InputError
from training.report import charts, drawing


def bars(name):
    """A chart with a name on its axis, as it stands."""
    return alt.Chart(alt.InlineData(values=[{"x": name}])).mark_bar().encode(x="x:N")


@pytest.mark.parametrize("bad", ["\x00", "\x08", "\ufffe"])
def test_a_chart_that_kills_its_process_is_an_error_and_the_next_is_drawn(bad):
    with pytest.raises(InputError, match=r"the process that draws charts died of it \(exit code -6\)"):
        drawing.draw(bars(f"a{bad}"))
    assert ">good</text>" in drawing.draw(bars("good"))


def test_a_chart_that_takes_too_long_is_given_up():
    with pytest.raises(InputError, match=r"not drawn within 0\.001 seconds"):
        drawing.draw(bars("a"), timeout=0.001)
    assert "<svg" in drawing.draw(bars("a"))


def test_a_chart_that_makes_no_sense_says_why():
    chart = bars("a").encode(y=alt.Y("y:Q", scale=alt.Scale(type="log", domain=[1, "x"])))
    with pytest.raises(InputError, match="it cannot be drawn: "):
        drawing.draw(chart.transform_filter("nosuchfunction(1)"))


def test_one_process_draws_all_charts():
    drawing.draw(bars("a"))
    first = drawing._children[-1].process.pid
    drawing.draw(bars("b"))
    assert drawing._children[-1].process.pid == first


def test_text_of_the_data_is_cleaned_before_it_is_drawn():
    rows = [{"x": 'a\x00\x08\ud800\ufffe"</svg>', "y": float("nan")}, {"x": "x" * 10_000, "y": 1.0}]
    values = charts.data(rows).values
    assert values[0] == {"x": 'a\ufffd\ufffd\ufffd\ufffd"</svg>', "y": None}
    assert len(values[1]["x"]) == charts.LONGEST_TIP
    drawn = charts.svg(alt.Chart(charts.data(rows)).mark_bar().encode(x="x:N", y="y:Q").properties(width=9), "a\x00b")
    assert 'aria-label="a\ufffdb"' in drawn
