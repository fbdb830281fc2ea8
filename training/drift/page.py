"""The drift watch for people: the verdict, the lines for a terminal, and the page with its charts."""

from collections.abc import Iterator, Mapping
from typing import Any

import altair as alt

from ..evaluation import FEW_QUERIES
from ..report import Tone, card, charts, escape, figure, note, page, paragraph, table
from .compare import HUB_GROWTH, HUB_SHARE

# The share of a user's answers that stays. Another seed alone leaves .86 on the demo and .58 on ml-100k: small is what
# any training brings, large is more than a seed does.
SMALL, LARGE = 0.8, 0.5
SHIFT = 0.1  # of a share: a change worth a sentence
TONES: dict[str, Tone] = {"small": "good", "moderate": "unclear", "large": "bad"}
Figures = Mapping[str, Any]  # as drift.compare gives them


def verdict(figures: Figures) -> tuple[str, str]:
    """small, moderate or large, and why, in a sentence or two. A new hub is never a small change."""
    level = max((figures["overlap"] < SMALL) + (figures["overlap"] < LARGE), len(figures["hubs"]) > 0)
    k, same = figures["k"], f"{figures['same_first']:.0%} of the users keep their first"
    kept = f"{k * figures['overlap']:.1f} of a user's {k} items stay on average, and {same}."
    return [*TONES][level], " ".join([kept, *list(_stands_out(figures))[:1]])


def _stands_out(figures: Figures) -> Iterator[str]:
    hubs, a, b = figures["hubs"], figures["sides"]["A"], figures["sides"]["B"]
    if hubs:
        others = f", and {len(hubs) - 1:,} more have grown alike" if len(hubs) > 1 else ""
        yield f"{_named(hubs[0])} is in {hubs[0]['B']:.0%} of B's lists, in {hubs[0]['A']:.0%} of A's{others}."
    if figures["new_items"] > SHIFT:
        yield f"{figures['new_items']:.0%} of what B recommends are items that A does not know."
    popular = "The most popular tenth of the items is {:.0%} of what A recommends, {:.0%} of what B does."
    for key, told in (("popular", popular), ("coverage", "A shows {:.0%} of its catalogue, B {:.0%}.")):
        if abs(b[key] - a[key]) > SHIFT:
            yield told.format(a[key], b[key])


def _named(item: Figures) -> str:
    return str(item["title"]) if item["title"] == item["item_id"] else f"“{item['title']}” ({item['item_id']})"


def _agreement(figures: Figures) -> list[tuple[str, str, str]]:
    """What is compared, the share that stays, and the share that two random lists would have in common."""
    k, deep, near, items = figures["k"], figures["deep"], figures["neighbours"], figures["catalogue"]
    larger = max(items["A"], items["B"])
    rows = [
        (f"top {k} of a user", figures["overlap"], k / larger),
        (f"top {deep} of a user", figures["overlap_deep"], deep / larger),
        ("first item of a user", figures["same_first"], 1 / larger),
        (f"{near['k']} nearest items of an item", near["overlap"], near["k"] / (items["both"] - 1)),
    ]
    return [(name, f"{share:.1%}", f"{chance:.1%}") for name, share, chance in rows]


def _properties(figures: Figures) -> list[tuple[str, ...]]:
    """What is measured, and its value for A and for B."""
    sides, k = figures["sides"].values(), figures["k"]
    return [
        (f"coverage@{k}", *(f"{side['coverage']:.1%}" for side in sides)),
        (f"exposure gini@{k}", *(f"{side['gini']:.3f}" for side in sides)),
        (f"novelty@{k}, bits", *(f"{side['novelty']:.2f}" for side in sides)),
        ("most popular tenth", *(f"{side['popular']:.1%}" for side in sides)),
        *((name, *(f"{side['score'][key]['mean']:.2f} ± {side['score'][key]['std']:.2f}" for side in sides))
          for name, key in (("score of the first", "first"), (f"scores of the first {k}", "all"))),
    ]  # fmt: skip


def _mixing(figures: Figures) -> str:
    """What A's user tower finds in B's index."""
    if figures["mixed"] is None:
        return "The vectors of A and B differ in length: a user tower works with its own item index only."
    stays = f"A's user vectors on B's item index find {figures['mixed']:.0%} of A's answers"
    if figures["mixed"] >= SMALL:
        return f"{stays}: the two spaces agree, by a like start and like data; another seed would end that."
    return f"{stays}: a user tower and an item index of different versions must never be mixed."


def lines(figures: Figures) -> list[str]:
    """The verdict and the figures as a person reads them in a terminal."""
    level, sentence = verdict(figures)
    return [
        f"{level} change: {sentence}",
        _basis(figures),
        f"{'stays':30}{'share':>14}{'by chance':>14}",
        *(f"{name:30}{share:>14}{chance:>14}" for name, share, chance in _agreement(figures)),
        f"{'':30}{'A':>14}{'B':>14}",
        *(f"{name:30}{a:>14}{b:>14}" for name, a, b in _properties(figures)),
        _mixing(figures),
    ]


def _basis(figures: Figures) -> str:
    users, items = figures["users"], figures["catalogue"]
    few = ", few: read with care" if users["compared"] < FEW_QUERIES else ""
    return (
        f"A {figures['a'][:12]} has {items['A']:,} items, B {figures['b'][:12]} {items['B']:,}; both know "
        f"{items['both']:,}. {users['compared']:,} of {users['given']:,} users compared{few}."
    )


def render(figures: Figures) -> str:
    """The page as HTML text; same figures, same text."""
    level, sentence = verdict(figures)
    k, hubs = figures["k"], figures["hubs"]
    banner = f'<p class="verdict {TONES[level]}"><b>{level.capitalize()} change:</b> {escape(sentence)}</p>' + note(
        "There are no labels here: this says how much changes, not which is better. The promotion gate judges that."
    )
    cards = [
        (f"{figures['overlap']:.0%}", f"of the top {k} stays", f"mean over {figures['users']['compared']:,} users"),
        (f"{figures['same_first']:.0%}", "of the users", "keep their first item"),
        (f"{figures['neighbours']['overlap']:.0%}", "of the neighbours stay", "of an item, by cosine"),
        (f"{len(hubs):,}", "new hubs", f"in {HUB_SHARE:.0%} of B's lists or more, {HUB_GROWTH} times A's"),
    ]
    rows = [[escape(_named(hub)), f"{hub['A']:.1%}", f"{hub['B']:.1%}"] for hub in hubs[:10]]
    sections = {
        "Do users get other items?": figure(common_chart(figures["users_by_common"]))
        + table(["what is compared", "stays", "by chance"], _agreement(figures), narrow=True)
        + note("The share of A's list that is also in B's, each from its own index, items of the history left out. "
               "Neighbours are by cosine, among the items that both know."),
        "Which items gain, and which lose?": figure(
            items_chart(figures["items"], hubs), "The most listed items. Above the line: more in B's lists than in A's."
        ) + (table(["new hub", "A's lists", "B's lists"], rows) if rows else paragraph("No item became a hub.")),
        "Popularity, coverage and scores": table(["", "A", "B"], _properties(figures), narrow=True)
        + note("Popularity and novelty are by A's training counts, over the items that A knows. Scores are mean ± "
               "standard deviation; A's and B's need not be on one scale, so that a shift alone means nothing."),
        "May the versions be mixed?": paragraph(_mixing(figures)),
    }  # fmt: skip
    shown = "".join(card(*each) for each in cards)
    return page("What would change", escape(_basis(figures)), banner, shown, sections, footer="Written by recsys.")


def common_chart(counts: list[int]) -> str:
    """Bars: how many users by the number of items that A's and B's lists share."""
    rows = [
        {"common": place, "share": count / sum(counts), "tip": f"{place} in common: {count:,} users"}
        for place, count in enumerate(counts)
    ]
    chart = alt.Chart(alt.InlineData(values=rows)).mark_bar(color=charts.COLOURS["this model"]).encode(
        x=alt.X("common:O", title=f"items in common, of {len(counts) - 1}", axis=alt.Axis(labelAngle=0)),
        y=alt.Y("share:Q", title="share of the users", axis=alt.Axis(format="%", tickCount=5)),
        description="tip:N",
    )  # fmt: skip
    return charts.svg(chart.properties(width=charts.WIDTH, height=200), "items in common by user")


def items_chart(items: list[dict[str, Any]], hubs: list[dict[str, Any]]) -> str:
    """A dot an item: the share of A's lists and of B's that hold it; new hubs stand out."""
    rows = [
        {"A": item["A"], "B": item["B"], "hub": item in hubs,
         "tip": f"{_named(item)}: {item['A']:.1%} of A's lists, {item['B']:.1%} of B's"}
        for item in items
    ]  # fmt: skip
    top = max(max(item["A"], item["B"]) for item in items)
    axis, scale = alt.Axis(format="%", tickCount=6), alt.Scale(type="sqrt", domain=[0, top], nice=False)
    dots = alt.Chart(alt.InlineData(values=rows)).mark_circle(size=50, opacity=0.7).encode(
        x=alt.X("A:Q", title="share of A's lists", axis=axis, scale=scale),
        y=alt.Y("B:Q", title="share of B's lists", axis=axis, scale=scale),
        color=alt.condition("datum.hub", alt.value("#c8442f"), alt.value(charts.COLOURS["this model"])),
        description="tip:N",
    )  # fmt: skip
    ends = alt.InlineData(values=[{"A": 0, "B": 0}, {"A": top, "B": top}])
    line = alt.Chart(ends).mark_line(color="#b6bec7", strokeDash=[4, 4], aria=False).encode(x="A:Q", y="B:Q")
    return charts.svg((line + dots).properties(width=520, height=420), "items by their share of the lists")
