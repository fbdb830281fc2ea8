"""The report's charts: small tables to SVG text, drawn by Altair, that need no script and no network to show."""

import html
import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from recsys.metrics import Interval

from ..evaluation import BASELINES, MODEL, SliceFigures, label as baseline_label

Row = dict[str, Any]

BASELINE_COLOURS = ("#8a94a0", "#d9822b", "#7a5ea8", "#2a9d8f", "#7b5338", "#d36ba6")  # in the order of BASELINES
COLOURS = {"this model": "#1d5fae"} | {
    baseline.label: colour for baseline, colour in reversed([*zip(BASELINES, BASELINE_COLOURS, strict=False)])
}
GOOD = "#1a7f4b"
INK, MUTED, GRID = "#1c2530", "#5b6673", "#e6e9ed"
FONT = "Arial, Helvetica, sans-serif"  # measured here, drawn by a browser: where it lacks these, a little wider
CATEGORIES = ("#1d5fae", "#d9822b", "#2a9d8f", "#c8442f", "#7a5ea8", "#b8a000", "#d36ba6", "#7b5338", "#4aa3c7",
              "#5f7d2b")  # fmt: skip
OTHER = "other"
WIDTH = 760
PADDING = {"left": 14, "right": 14, "top": 4, "bottom": 4}

_MARK = re.compile(
    r'<(path|line) aria-label="([^"]*)" role="graphics-symbol" aria-roledescription="[^"]*"([^>]*?)/>'
)  # a mark with a description, as Vega writes it
_PLACE = re.compile(r' (?:transform|d|x|y|x1|x2|y1|y2|width|height)="[^"]*"')
_ID = re.compile(r' id="([^"]+)"')
_LONG_NUMBER = re.compile(r"-?\d+\.\d{3,}(?:e-?\d+)?")


def label(method: str) -> str:
    """What people call a method."""
    return "this model" if method == MODEL else baseline_label(method)


def svg(chart: alt.LayerChart | alt.Chart, name: str) -> str:
    """The chart as an inline <svg> that says ``name`` to a screen reader; its marks' descriptions become tooltips."""
    styled = chart.configure(font=FONT, background="transparent", padding=PADDING).configure_view(stroke=None)
    styled = styled.configure_axis(
        gridColor=GRID, domainColor="#b6bec7", tickColor="#b6bec7", labelColor=MUTED, titleColor=MUTED,
        labelFontSize=12, titleFontSize=12, titleFontWeight="normal", labelLimit=260,
    ).configure_legend(labelFontSize=12, labelColor=INK, title=None, symbolSize=90, symbolOpacity=1)  # fmt: skip
    out = io.StringIO()
    styled.save(out, format="svg")
    text = _PLACE.sub(lambda place: _LONG_NUMBER.sub(_short, place[0]), out.getvalue())
    text = _MARK.sub(lambda mark: f"<{mark[1]}{mark[3]}><title>{mark[2]}</title></{mark[1]}>", text)
    prefix = re.sub("[^a-z0-9]+", "-", name.lower())
    for number, found in enumerate(_ID.findall(text)):  # Vega counts on from chart to chart, and a page holds many
        text = re.sub(rf'(?<=["#]){re.escape(found)}(?=[")])', f"{prefix}-{number}", text)
    return text.replace(
        'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" version="1.1"',
        f'role="img" aria-label="{html.escape(name)}"',
        1,
    )


def _short(number: re.Match[str]) -> str:
    return f"{float(number[0]):.2f}"


def comparison(figures: Mapping[str, Interval], metric: str) -> str:
    """One bar a method with its 95% interval."""
    rows = [_interval_row(method, figure, metric) for method, figure in figures.items()]
    base = alt.Chart(_data(rows)).encode(
        y=alt.Y("method:N", sort=None, title=None, axis=_names(14)),
        color=_by_method(legend=False),
        description="tip:N",
    )
    bars = base.mark_bar(height=24).encode(
        x=alt.X("mean:Q", title=f"{metric}, with 95% interval", axis=alt.Axis(tickCount=6))
    )
    whiskers = base.mark_rule(strokeWidth=2, color=INK).encode(x="low:Q", x2="high:Q", color=alt.value(INK))
    numbers = base.mark_text(align="left", dx=7, fontSize=15, fontWeight="bold", aria=False)
    numbers = numbers.encode(x="high:Q", text=alt.Text("mean:Q", format=".4f"), color=alt.value(INK))
    return svg((bars + whiskers + numbers).properties(width=WIDTH, height=130), f"{metric} by method")


def slices(entries: Sequence[SliceFigures], methods: Sequence[str], metric: str) -> str:
    """A dot and its 95% interval for every method on every slice."""
    rows = [
        {"slice": entry.name} | _interval_row(method, entry.methods[method], f"{entry.name}: {metric}")
        for entry in entries
        for method in methods
    ]
    base = alt.Chart(_data(rows)).encode(
        y=alt.Y("slice:N", sort=None, title=None, axis=_names(13), scale=alt.Scale(paddingInner=0.4)),
        yOffset=alt.YOffset("method:N", sort=[label(method) for method in methods]),
        color=_by_method(),
        description="tip:N",
    )
    lines = base.mark_rule(strokeWidth=2).encode(
        x=alt.X("low:Q", title=f"{metric}, with 95% interval", axis=alt.Axis(tickCount=6)), x2="high:Q"
    )
    dots = base.mark_circle(size=75, opacity=1).encode(x="mean:Q")
    return svg((lines + dots).properties(width=WIDTH - 90, height=56 * len(entries)), f"{metric} by slice")


def curve(history: Sequence[Mapping[str, float]], key: str, title: str, *, number: str, best_epoch: int) -> str:
    """One figure by epoch; the epoch whose weights were kept is marked."""
    rows: list[Row] = [
        {"epoch": row["epoch"], "value": row[key], "tip": f"epoch {row['epoch']:.0f}: {row[key]:{number}}"}
        for row in history
    ]
    trimmed = f"{number[:-1]}~{number[-1]}"  # D3's way of leaving out trailing zeros
    axis = alt.Axis(format="d", tickMinStep=1, tickCount=6, grid=False)
    span = [rows[0]["epoch"], max(rows[-1]["epoch"], rows[0]["epoch"] + 1)]
    base = alt.Chart(_data(rows)).encode(
        x=alt.X("epoch:Q", axis=axis, title="epoch", scale=alt.Scale(domain=span, nice=False, padding=8)),
        y=alt.Y("value:Q", title=None, scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=5, format=trimmed)),
        description="tip:N",
    )
    line = base.mark_line(color=COLOURS["this model"], strokeWidth=2, aria=False)
    dots = base.mark_circle(size=26, color=COLOURS["this model"], opacity=1)
    best = base.transform_filter(alt.datum.epoch == best_epoch)
    mark = best.mark_circle(size=110, color=GOOD, opacity=1)
    rule = best.mark_rule(color=GOOD, strokeDash=[3, 3], aria=False).encode(y=alt.value(0), y2=alt.value(170))
    return svg((rule + line + dots + mark).properties(width=235, height=170), f"{title} by epoch")


def item_map(points: Sequence[Row], *, categories: Sequence[str] | None) -> str:
    """The items on the plane. points: x, y, tip and colour: a value of ``categories``, else a number of events."""
    if categories is None:
        scale = alt.Scale(type="symlog", scheme="viridis", reverse=True)
        legend = alt.Legend(title="training events", gradientLength=200, titleColor=MUTED, titleFontWeight="normal")
        colour = alt.Color("colour:Q", scale=scale, legend=legend)
    else:
        shades = [*CATEGORIES[: len(categories) - 1], "#c3c9d0"] if OTHER in categories else [*CATEGORIES]
        names = alt.Scale(domain=[*categories], range=shades[: len(categories)])
        colour = alt.Color("colour:N", scale=names, legend=alt.Legend(orient="right", labelLimit=150))
    plane = alt.Scale(zero=False, nice=False, padding=12)
    chart = (
        alt.Chart(_data(points))
        .mark_circle(size=24 if len(points) > 800 else 44, opacity=0.75)
        .encode(
            x=alt.X("x:Q", axis=None, scale=plane),
            y=alt.Y("y:Q", axis=None, scale=plane),
            color=colour,
            description="tip:N",
        )
        .properties(width=WIDTH, height=500)
    )
    return svg(chart, "map of the items")


def deciles(shares: Mapping[str, Sequence[float]]) -> str:
    """Grouped bars: for each series its share by tenth of the items, the most popular first."""
    shades = dict(zip(shares, ("#8a94a0", "#2a9d8f", COLOURS["this model"]), strict=False))
    rows: list[Row] = [
        {"decile": place + 1, "series": series, "share": share, "tip": f"tenth {place + 1}, {series}: {share:.1%}"}
        for series, values in shares.items()
        for place, share in enumerate(values)
    ]
    chart = (
        alt.Chart(_data(rows))
        .mark_bar()
        .encode(
            x=alt.X("decile:O", title="tenth of the items, by training events: 1 = most popular", axis=_names(12, 0)),
            xOffset=alt.XOffset("series:N", sort=[*shares]),
            y=alt.Y("share:Q", title="share", axis=alt.Axis(format="%", tickCount=5)),
            color=alt.Color(
                "series:N",
                scale=alt.Scale(domain=[*shades], range=[*shades.values()]),
                legend=alt.Legend(orient="top", labelLimit=300),
            ),
            description="tip:N",
        )
        .properties(width=WIDTH + 60, height=230)
    )
    return svg(chart, "share by tenth of the items")


def _data(rows: Sequence[Row]) -> alt.InlineData:
    return alt.InlineData(values=[*rows])


def _interval_row(method: str, figure: Interval, metric: str) -> Row:
    tip = f"{label(method)}, {metric} {figure.mean:.4f} (95%: {figure.low:.4f} to {figure.high:.4f})"
    return {"method": label(method), "tip": tip, "mean": figure.mean, "low": figure.low, "high": figure.high}


def _by_method(*, legend: bool = True) -> alt.Color:
    scale = alt.Scale(domain=[*COLOURS], range=[*COLOURS.values()])
    return alt.Color("method:N", scale=scale, legend=alt.Legend(orient="top") if legend else None)


def _names(size: int, angle: int = 0) -> alt.Axis:
    return alt.Axis(labelFontSize=size, labelColor=INK, labelAngle=angle, ticks=False, domain=False, labelPadding=8)
