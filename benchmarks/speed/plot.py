"""RESULTS.svg: how many times as long as ours every other tool takes, on a log axis."""

import math
from pathlib import Path
from typing import Any

import altair as alt
import polars as pl
import vl_convert as vlc

from benchmarks.speed.table import Line, fastest, pace, sides, times_to_quality

LEFT_OUT = ("ceilings", "growth")
WIDTH, BAR = 520, 14
SIDES: tuple[tuple[str, Any, int], ...] = (("datum.ratio >= 1", "left", 4), ("datum.ratio < 1", "right", -4))


def write(lines: list[Line], path: Path) -> None:
    """An SVG of a panel for each row and a bar for each tool; nothing where there is no other tool yet."""
    bars = ratios([*lines, *times_to_quality(lines)])
    if bars.is_empty():
        return
    tools = bars["tool"].unique(maintain_order=True).to_list()
    panels = [panel(bars.filter(pl.col("row") == row), row, tools) for row in bars["row"].unique(maintain_order=True)]
    chart = (
        alt.vconcat(*panels, spacing=12)
        .resolve_scale(x="shared", color="shared", yOffset="independent")
        .properties(title="How many times as long as ours each tool takes (tuned where it can be; the line is ours)")
        .configure_axis(labelLimit=400, titleFontWeight="normal")
        .configure_title(anchor="start")
        .configure_view(stroke=None)
    )
    path.write_text(vlc.vegalite_to_svg(chart.to_json()))


def ratios(lines: list[Line]) -> pl.DataFrame:
    """row, work, tool, ratio: a tool's fastest variant beside our fastest; what never finishes is left out."""
    found = []
    for line in lines:
        ours, others = sides(line)
        if line["row"] in LEFT_OUT or not ours:
            continue
        for tool in dict.fromkeys(one["label"].split(",")[0] for one in others):
            variants = [one for one in others if one["label"].split(",")[0] == tool]
            ratio = pace(fastest(variants)) / pace(fastest(ours))
            if math.isfinite(ratio) and ratio > 0:
                found.append({"row": line["row"], "work": line["work"], "tool": tool, "ratio": ratio})
    return pl.DataFrame(found)


def panel(bars: pl.DataFrame, row: str, tools: list[str]) -> alt.LayerChart | alt.FacetChart:
    """One row's bars, grouped by work."""
    present = [tool for tool in tools if tool in bars["tool"].to_list()]
    base = alt.Chart(alt.InlineData(values=bars.to_dicts())).encode(
        y=alt.Y("work:N", title=None, sort=None, scale=alt.Scale(paddingInner=0.25)),
        yOffset=alt.YOffset("tool:N", sort=present, scale=alt.Scale(domain=present)),
    )
    x = alt.X("ratio:Q", title=None, scale=alt.Scale(type="log"), axis=alt.Axis(format="~g", tickCount=5))
    color = alt.Color("tool:N", title=None, scale=alt.Scale(domain=tools, scheme="tableau10"))
    drawn = base.mark_bar().encode(x=x, x2=alt.datum(1), color=color)
    named = [
        base.transform_filter(side).mark_text(align=align, dx=dx, fontSize=10).encode(
            x=alt.X("ratio:Q"), text=alt.Text("ratio:Q", format=".3~r")
        )
        for side, align, dx in SIDES
    ]  # fmt: skip
    line = alt.Chart(alt.InlineData(values=[{"ours": 1}])).mark_rule(color="black").encode(x="ours:Q")
    title = alt.TitleParams(row, anchor="start", frame="group")
    height = alt.Step(BAR, **{"for": "offset"})
    return alt.layer(drawn, *named, line).properties(title=title, width=WIDTH, height=height)
