"""The report's charts: small tables drawn by Altair as SVG text, which needs no script and no network to show.

Text in a chart keeps its size only if the chart is not scaled down, so charts with axes are drawn for a desktop
(``DESKTOP``) and once more for a phone (``PHONE``); the page shows the one that fits.
"""

import html
import math
import re
from collections.abc import Mapping, Sequence

import altair as alt

from recsys.metrics import Interval
from recsys.plain_text import plain_text

from .. import evaluation
from ..evaluation import BASELINES, MODEL, SliceFigures
from ..learning_curve import EpochResult
from .drawing import draw
from .palette import LIGHT, with_variables

Row = Mapping[str, str | float]

METHODS = (MODEL, *(baseline.name for baseline in reversed(BASELINES)))  # in the order in which they are shown
COLOURS = dict(zip((MODEL, *(baseline.name for baseline in BASELINES)), ("blue", "grey", "orange", "violet", "pink",
               "olive", "brown"), strict=False))  # fmt: skip
DESKTOP, PHONE = 760, 250  # width of the plot, without its axis, in pixels
FONT = "Arial, Helvetica, sans-serif"  # widths are measured with it here; a browser without it draws a little wider
LONGEST_TIP = 300  # characters
PADDING = {"left": 14, "right": 14, "top": 4, "bottom": 4}

_MARK = re.compile(
    r'<(path|line) aria-label="([^"]*)" role="graphics-symbol" aria-roledescription="[^"]*"([^>]*?)/>'
)  # a mark with a description, as Vega writes it
_COORDINATES = re.compile(r' (?:transform|d|x|y|x1|x2|y1|y2|width|height)="[^"]*"')
_ID = re.compile(r' id="([^"]+)"')
_LONG_NUMBER = re.compile(r"-?\d+\.\d{3,}(?:e-?\d+)?")


def label(method: str) -> str:
    """The name of a method as people write it."""
    return "this model" if method == MODEL else evaluation.label(method)


def colour(method: str) -> str:
    """The colour of a method, as a name in the palette."""
    return COLOURS.get(method, "ink")


def svg(chart: alt.LayerChart | alt.Chart, name: str) -> str:
    """Draw a chart as an inline <svg>. The descriptions of its marks become tooltips.

    Args:
        chart: The chart, in colours of the light palette.
        name: What a screen reader says; distinct within a page, because ids are made from it and the chart's width.

    Raises:
        InputError: The chart cannot be drawn.
    """
    styled = chart.configure(font=FONT, background="transparent", padding=PADDING).configure_view(stroke=None)
    styled = styled.configure_axis(
        gridColor=LIGHT["grid"], domainColor=LIGHT["axis"], tickColor=LIGHT["axis"], labelColor=LIGHT["muted"],
        titleColor=LIGHT["muted"], labelFontSize=12, titleFontSize=12, titleFontWeight="normal", labelLimit=260,
    ).configure_legend(
        labelFontSize=12, labelColor=LIGHT["ink"], title=None, symbolSize=90, symbolOpacity=1
    )  # fmt: skip
    text = _COORDINATES.sub(lambda attribute: _LONG_NUMBER.sub(_rounded, attribute[0]), draw(styled))
    text = _MARK.sub(lambda mark: f"<{mark[1]}{mark[3]}><title>{mark[2]}</title></{mark[1]}>", text)
    prefix = re.sub("[^a-z0-9]+", "-", f"{name.lower()} {chart.width}")
    for number, identifier in enumerate(_ID.findall(text)):  # Vega numbers ids anew in each chart; a page holds many
        text = re.sub(rf'(?<=["#]){re.escape(identifier)}(?=[")])', f"{prefix}-{number}", text)
    return with_variables(text).replace(
        'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" version="1.1"',
        f'role="img" aria-label="{html.escape(plain_text(name))}"',
        1,
    )


def _rounded(number: re.Match[str]) -> str:
    return f"{float(number[0]):.2f}"


def comparison(figures: Mapping[str, Interval], metric: str, width: int = DESKTOP) -> str:
    """One bar for each method, with its 95% interval."""
    rows = [_interval_row(method, figure, metric) for method, figure in figures.items()]
    bars = alt.Chart(data(rows)).encode(
        y=alt.Y("method:N", sort=None, title=None, axis=_names(14)),
        color=_by_method(legend=False),
        description="tip:N",
    )
    marks = bars.mark_bar(height=24).encode(
        x=alt.X("mean:Q", title=f"{metric}, with 95% interval", axis=alt.Axis(tickCount=6 if width > PHONE else 4))
    )
    ink = alt.value(LIGHT["ink"])
    whiskers = bars.mark_rule(strokeWidth=2).encode(x="low:Q", x2="high:Q", color=ink)
    numbers = bars.mark_text(align="left", dx=7, fontSize=15, fontWeight="bold", aria=False)
    numbers = numbers.encode(x="high:Q", text=alt.Text("mean:Q", format=".4f"), color=ink)
    return svg((marks + whiskers + numbers).properties(width=width - 40, height=130), f"{metric} by method")


def slices(entries: Sequence[SliceFigures], methods: Sequence[str], metric: str, width: int = DESKTOP) -> str:
    """A dot and its 95% interval for every method on every slice."""
    phone = width <= PHONE
    rows = [
        {"slice": entry.name, **_interval_row(method, entry.methods[method], f"{entry.name}: {metric}")}
        for entry in entries
        for method in methods
    ]
    dots = alt.Chart(data(rows)).encode(
        y=alt.Y("slice:N", sort=None, title=None, axis=_names(13, broken=phone), scale=alt.Scale(paddingInner=0.4)),
        yOffset=alt.YOffset("method:N", sort=[label(method) for method in methods]),
        color=_by_method(columns=2 if phone else 0),
        description="tip:N",
    )
    axis = alt.Axis(tickCount=3 if phone else 6)
    lines = dots.mark_rule(strokeWidth=2).encode(
        x=alt.X("low:Q", title=f"{metric}, with 95% interval", axis=axis), x2="high:Q"
    )
    dots = dots.mark_circle(size=75, opacity=1).encode(x="mean:Q")
    return svg((lines + dots).properties(width=width - 90, height=56 * len(entries)), f"{metric} by slice")


def curve(epochs: Sequence[EpochResult], values: Sequence[float], title: str, *, form: str, best_epoch: int) -> str:
    """One figure by epoch; the epoch whose weights were kept is marked.

    Args:
        epochs: The learning curve.
        values: A figure for each epoch.
        title: What the figure is.
        form: How the figure is written, a format specification such as ".3f".
        best_epoch: The epoch to mark, from 1.
    """
    rows: list[Row] = [
        {"epoch": result.epoch, "value": value, "tip": f"epoch {result.epoch}: {value:{form}}"}
        for result, value in zip(epochs, values, strict=True)
    ]
    without_zeros = f"{form[:-1]}~{form[-1]}"  # D3's way of leaving out trailing zeros
    few = {"values": [result.epoch for result in epochs]} if len(epochs) <= 6 else {"tickCount": 6}
    axis = alt.Axis(format="d", tickMinStep=1, grid=False, **few)
    span = [epochs[0].epoch, max(epochs[-1].epoch, epochs[0].epoch + 1)]
    points = alt.Chart(data(rows)).encode(
        x=alt.X("epoch:Q", axis=axis, title="epoch", scale=alt.Scale(domain=span, nice=False, padding=8)),
        y=alt.Y("value:Q", title=None, scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=5, format=without_zeros)),
        description="tip:N",
    )
    line = points.mark_line(color=LIGHT["blue"], strokeWidth=2, aria=False)
    dots = points.mark_circle(size=26, color=LIGHT["blue"], opacity=1)
    best = points.transform_filter(alt.datum.epoch == best_epoch)
    mark = best.mark_circle(size=110, color=LIGHT["good"], opacity=1)
    rule = best.mark_rule(color=LIGHT["good"], strokeDash=[3, 3], aria=False).encode(y=alt.value(0), y2=alt.value(170))
    return svg((rule + line + dots + mark).properties(width=235, height=170), f"{title} by epoch")


def item_map(points: Sequence[Row], colours: Mapping[str, str] | None) -> str:
    """The items on a plane, without any text, so that it reads at every size.

    Args:
        points: x, y, tip and colour: a key of ``colours``, else a number.
        colours: The colour of each category; None where the colour of a point is a number.
    """
    if colours is None:  # the middle of the scale is visible on a light and on a dark screen
        shades = alt.SchemeParams(name="viridis", extent=[0.25, 0.95])
        colour = alt.Color("colour:Q", scale=alt.Scale(type="symlog", scheme=shades, reverse=True), legend=None)
    else:
        colour = alt.Color("colour:N", scale=alt.Scale(domain=[*colours], range=[*colours.values()]), legend=None)
    plane = alt.Scale(zero=False, nice=False, padding=12)
    chart = (
        alt.Chart(data(points))
        .mark_circle(size=24 if len(points) > 800 else 44, opacity=0.75)
        .encode(
            x=alt.X("x:Q", axis=None, scale=plane),
            y=alt.Y("y:Q", axis=None, scale=plane),
            color=colour,
            description="tip:N",
        )
        .properties(width=DESKTOP, height=500)
    )
    return svg(chart, "map of the items")


def deciles(shares: Mapping[str, Sequence[float]], width: int = DESKTOP) -> str:
    """Grouped bars: for each series its share by tenth of the items, the most popular first."""
    phone = width <= PHONE
    shades = dict(zip(shares, (LIGHT["grey"], LIGHT["teal"], LIGHT["blue"]), strict=False))
    rows: list[Row] = [
        {"decile": tenth, "series": series, "share": share, "tip": f"tenth {tenth}, {series}: {share:.1%}"}
        for series, values in shares.items()
        for tenth, share in enumerate(values, 1)
    ]
    title = "tenth of the items" if phone else "tenth of the items, by training events"
    legend = alt.Legend(orient="top", labelLimit=300, columns=1 if phone else 0)
    chart = (
        alt.Chart(data(rows))
        .mark_bar()
        .encode(
            x=alt.X("decile:O", title=f"{title}: 1 = most popular", axis=_names(12)),
            xOffset=alt.XOffset("series:N", sort=[*shares]),
            y=alt.Y("share:Q", title="share", axis=alt.Axis(format="%", tickCount=5)),
            color=alt.Color("series:N", scale=alt.Scale(domain=[*shades], range=[*shades.values()]), legend=legend),
            description="tip:N",
        )
        .properties(width=width + 40, height=230)
    )
    return svg(chart, "share by tenth of the items")


def data(rows: Sequence[Row]) -> alt.InlineData:
    """Rows as Altair takes them: text that can be drawn, and nothing in place of a number that is not finite."""
    return alt.InlineData(values=[{name: _drawable(value) for name, value in row.items()} for row in rows])


def _drawable(value: str | float) -> str | float | None:
    if isinstance(value, str):
        return plain_text(value, LONGEST_TIP)
    return value if math.isfinite(value) else None


def _interval_row(method: str, figure: Interval, metric: str) -> Row:
    tip = f"{label(method)}, {metric} {figure.mean:.4f} (95%: {figure.low:.4f} to {figure.high:.4f})"
    return {"method": label(method), "tip": tip, "mean": figure.mean, "low": figure.low, "high": figure.high}


def _by_method(*, legend: bool = True, columns: int = 0) -> alt.Color:
    scale = alt.Scale(domain=[*map(label, METHODS)], range=[LIGHT[colour(name)] for name in METHODS])
    return alt.Color("method:N", scale=scale, legend=alt.Legend(orient="top", columns=columns) if legend else None)


def _names(size: int, *, broken: bool = False) -> alt.Axis:
    """An axis of names. broken: an addition in brackets goes to a line of its own."""
    axis = alt.Axis(
        labelFontSize=size, labelColor=LIGHT["ink"], labelAngle=0, ticks=False, domain=False, labelPadding=8
    )
    if broken:
        axis.labelExpr = "split(replace(datum.label, ' (', '\\n('), '\\n')"
    return axis
