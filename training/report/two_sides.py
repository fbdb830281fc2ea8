"""Users and items in one space, drawn: both clouds of points, cosines within and between them, and hubs."""

from collections.abc import Mapping, Sequence
from functools import partial

import altair as alt

from ..evaluation import NUM_BINS, Sketch
from . import charts
from .charts import DESKTOP, PHONE
from .html import figure, legend, note, picture
from .inputs import ReportInputs
from .palette import LIGHT

SIDES = {"users": "orange", "items": "blue"}
COSINES = {
    "users and what they chose next": "good", "users and other items": "grey", "two users": "orange",
    "two items": "blue",
}  # fmt: skip
HEIGHT = 400
CLOUDS = (
    "Users and items on one plane: from left to right the gap between the two centres (marked +) at its full length, "
    "from top to bottom the direction in which both clouds are widest. A side that lies on one spot has collapsed."
)
SPREAD = (
    "How alike two vectors are. Alignment: the further the green line is to the right of the grey one, the better "
    "users find what they choose next. Uniformity: two users, or two items, that are drawn at random should be near 0; "
    "a side whose line is at 1 has collapsed."
)
HUBS = (
    "In how many lists the items are. Items in nobody's are at the left; hubs, which are close to everyone, are the "
    "thin end at the right."
)


def drawings(inputs: ReportInputs) -> str:
    """The three drawings; a note where there is no sketch."""
    sketch = inputs.sketch
    if sketch is None:
        return note("The drawings of both sides are left out: these records are of an earlier release.")
    return (
        "<h3>Users and items in one space</h3>"
        + legend(SIDES)
        + picture(partial(clouds, sketch), CLOUDS, "map")
        + figure(partial(cosines, sketch), SPREAD)
        + figure(partial(listed, sketch.listed), HUBS)
    )


def clouds(sketch: Sketch) -> str:
    """The points of both sides to one scale, without any text, so that it reads at every size."""
    sides = {"items": sketch.item_xy, "users": sketch.user_xy}  # users are fewer in most cases, and drawn on top
    rows: list[Mapping[str, str | float]] = [
        {"x": x, "y": y, "side": side} for side, points in sides.items() for x, y in points
    ]
    centres: list[Mapping[str, str | float]] = [
        {"x": sum(x for x, _ in points) / len(points), "y": sum(y for _, y in points) / len(points)}
        for points in sides.values()
    ]
    both = [*sketch.item_xy, *sketch.user_xy]
    low, high = min(y for _, y in both), max(y for _, y in both)
    tall = 1.06 * max(0.2, (high - low) / 2, max(abs(x) for x, _ in both) * HEIGHT / DESKTOP)
    ends = {
        "x": [-tall * DESKTOP / HEIGHT, tall * DESKTOP / HEIGHT],
        "y": [(low + high) / 2 - tall, (low + high) / 2 + tall],
    }
    x, y = (  # one scale for both axes
        axis(f"{name}:Q", axis=None, scale=alt.Scale(domain=ends[name], nice=False))
        for axis, name in ((alt.X, "x"), (alt.Y, "y"))
    )
    colour = alt.Color(
        "side:N", scale=alt.Scale(domain=[*SIDES], range=[LIGHT[one] for one in SIDES.values()]), legend=None
    )
    points = alt.Chart(charts.data(rows)).mark_circle(size=40, opacity=0.6, aria=False).encode(x=x, y=y, color=colour)
    marks = alt.Chart(charts.data(centres)).mark_point(shape="cross", size=260, filled=True, opacity=1, aria=False)
    marks = marks.encode(x=x, y=y, color=alt.value(LIGHT["ink"]))
    return charts.svg((points + marks).properties(width=DESKTOP, height=HEIGHT), "users and items on a plane")


def cosines(sketch: Sketch, width: int = DESKTOP) -> str:
    """A line for each kind of pair: how many have which cosine."""
    shares: dict[str, Sequence[float]] = dict(
        zip(
            COSINES,
            (sketch.target_cosines, sketch.other_cosines, sketch.user_cosines, sketch.item_cosines),
            strict=True,
        )
    )
    rows: list[Mapping[str, str | float]] = [
        {"kind": kind, "cosine": (number + 0.5) * 2 / NUM_BINS - 1, "share": share}
        for kind, values in shares.items()
        for number, share in enumerate(values)
    ]
    phone = width <= PHONE
    keys = alt.Legend(orient="top", labelLimit=300, columns=1 if phone else 0)
    lines = (
        alt.Chart(charts.data(rows))
        .mark_line(strokeWidth=2, aria=False)
        .encode(
            x=alt.X(
                "cosine:Q", title="cosine of two vectors", scale=alt.Scale(domain=[-1, 1]), axis=alt.Axis(tickCount=5)
            ),
            y=alt.Y("share:Q", title="share of the pairs", axis=alt.Axis(format="%", tickCount=5)),
            color=alt.Color(
                "kind:N",
                scale=alt.Scale(domain=[*COSINES], range=[LIGHT[one] for one in COSINES.values()]),
                legend=keys,
            ),
        )
        .properties(width=width + 40 - 60 * phone, height=210)
    )
    return charts.svg(lines, "cosines within and between both sides")


def listed(shares: Sequence[float], width: int = DESKTOP) -> str:
    """A bar for each number of lists: the share of the items that are in so many."""
    phone = width <= PHONE
    names = ["0", "1", *(f"{2**power}–{2 ** (power + 1) - 1}" for power in range(1, 9)), "512+"]
    rows: list[Mapping[str, str | float]] = [
        {"lists": name, "share": share, "tip": f"in {name} lists: {share:.1%} of the items"}
        for name, share in zip(names, shares, strict=False)
    ]
    bars = (
        alt.Chart(charts.data(rows))
        .mark_bar(color=LIGHT["blue"])
        .encode(
            x=alt.X(
                "lists:O",
                sort=None,
                title="users whose top 10 an item is in",
                axis=alt.Axis(labelAngle=-90 * phone, ticks=False),
            ),
            y=alt.Y("share:Q", title="share of the items", axis=alt.Axis(format="%", tickCount=5)),
            description="tip:N",
        )
        .properties(width=width + 40 - 60 * phone, height=180)
    )
    return charts.svg(bars, "in how many lists the items are")
