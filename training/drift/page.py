"""The drift watch for people: the verdict, the lines for a terminal, and the page with its charts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import altair as alt

from ..evaluation import FEW_QUERIES
from ..report import Tone, card, charts, escape, figure, note, page, palette, paragraph, table, verdict_banner
from .compare import HUB_GROWTH, HUB_SHARE
from .figures import DriftFigures, ListedItem

# The share of a user's answers that stays. Another seed alone leaves .86 on the demo and .58 on ml-100k: a small change
# is what any training brings, a large one is more than a seed does.
SMALL, LARGE = 0.8, 0.5
SHIFT = 0.1  # of a share: a change worth a sentence
Level = Literal["identical", "small", "moderate", "large"]
TONES: dict[Level, Tone] = {"identical": "good", "small": "good", "moderate": "unclear", "large": "bad"}


@dataclass(frozen=True)
class Verdict:
    """How much changes, and why in a sentence or two."""

    level: Level
    sentence: str

    @property
    def headline(self) -> str:
        """The level in words."""
        return "identical" if self.level == "identical" else f"{self.level} change"


def verdict(figures: DriftFigures) -> Verdict:
    """Judge how much changes. A new hub is never a small change."""
    if figures.a == figures.b:
        return Verdict("identical", "A and B are the same bundle.")
    severity = max((figures.overlap < SMALL) + (figures.overlap < LARGE), len(figures.hubs) > 0)
    stays = (
        f"{figures.k * figures.overlap:.1f} of a user's {figures.k} items stay on average, and "
        f"{figures.same_first:.0%} of the users keep their first."
    )
    levels: tuple[Level, ...] = ("small", "moderate", "large")
    return Verdict(levels[severity], " ".join([stays, *list(_stands_out(figures))[:1]]))


def _stands_out(figures: DriftFigures) -> Iterator[str]:
    """Sentences on what changes most, the most important first."""
    hubs, a, b = figures.hubs, figures.sides.a, figures.sides.b
    if hubs:
        more = f"; {len(hubs) - 1:,} more items have grown like it" if len(hubs) > 1 else ""
        yield f"{_named(hubs[0])} is in {hubs[0].b:.0%} of B's lists, in {hubs[0].a:.0%} of A's{more}."
    if figures.new_items > SHIFT:
        yield f"{figures.new_items:.0%} of what B recommends are items that A does not know."
    if abs(b.popular - a.popular) > SHIFT:
        yield (
            f"The most popular tenth of the items is {a.popular:.0%} of what A recommends, {b.popular:.0%} of what B "
            "does."
        )
    if abs(b.coverage - a.coverage) > SHIFT:
        yield f"A shows {a.coverage:.0%} of its catalogue, B {b.coverage:.0%}."


def _named(item: ListedItem) -> str:
    return item.title if item.title == item.item_id else f"“{item.title}” ({item.item_id})"


def _agreement(figures: DriftFigures) -> list[tuple[str, str, str]]:
    """What is compared, the share that stays, and the share that two random lists would have in common."""
    k, deep, neighbours = figures.k, figures.deep, figures.neighbours
    larger = max(figures.catalogue.a, figures.catalogue.b)
    rows = [
        (f"top {k} of a user", figures.overlap, k / larger),
        (f"top {deep} of a user", figures.overlap_deep, deep / larger),
        ("first item of a user", figures.same_first, 1 / larger),
    ]
    if neighbours is not None:
        chance = neighbours.k / (figures.catalogue.both - 1)
        rows.append((f"{neighbours.k} nearest items of an item", neighbours.overlap, chance))
    return [(name, f"{share:.1%}", f"{chance:.1%}") for name, share, chance in rows]


def _properties(figures: DriftFigures) -> list[tuple[str, ...]]:
    """What is measured, and its value for A and for B."""
    sides, k = (figures.sides.a, figures.sides.b), figures.k
    scores = {
        "score of the first": [side.score.first for side in sides],
        f"scores of the first {k}": [side.score.all for side in sides],
    }
    return [
        (f"coverage@{k}", *(f"{side.coverage:.1%}" for side in sides)),
        (f"exposure gini@{k}", *(f"{side.gini:.3f}" for side in sides)),
        (f"novelty@{k}, bits", *(f"{side.novelty:.2f}" for side in sides)),
        ("most popular tenth", *(f"{side.popular:.1%}" for side in sides)),
        *((name, *(f"{score.mean:.2f} ± {score.std:.2f}" for score in values)) for name, values in scores.items()),
    ]


def _mixing(figures: DriftFigures) -> str:
    """What A's user tower finds in B's index."""
    if figures.a == figures.b:
        return "A and B are the same bundle."
    if figures.neighbours is None:
        return "A baseline has no vectors: there is nothing to mix."
    if figures.mixed is None:
        return "The vectors of A and B differ in length: a user tower works with its own item index only."
    share = f"A's user vectors on B's item index find {figures.mixed:.0%} of A's answers"
    if figures.mixed >= SMALL:
        return f"{share}: the spaces agree because A and B started alike on similar data; another seed would end that."
    return f"{share}: a user tower and an item index of different versions must never be mixed."


def lines(figures: DriftFigures) -> list[str]:
    """The verdict and the figures as a person reads them in a terminal."""
    judged = verdict(figures)
    return [
        f"{judged.headline}: {judged.sentence}",
        _basis(figures),
        f"{'stays':30}{'share':>14}{'by chance':>14}",
        *(f"{name:30}{share:>14}{chance:>14}" for name, share, chance in _agreement(figures)),
        f"{'':30}{'A':>14}{'B':>14}",
        *(f"{name:30}{a:>14}{b:>14}" for name, a, b in _properties(figures)),
        *([] if figures.a == figures.b else [_mixing(figures)]),
    ]


def _basis(figures: DriftFigures) -> str:
    users, items = figures.users, figures.catalogue
    few = ", few: read with care" if users.compared < FEW_QUERIES else ""
    return (
        f"A {figures.a[:12]} has {items.a:,} items, B {figures.b[:12]} {items.b:,}; both know "
        f"{items.both:,}. {users.compared:,} of {users.given:,} users compared{few}."
    )


def render(figures: DriftFigures) -> str:
    """The page as HTML text. The same figures give the same text."""
    judged = verdict(figures)
    banner = verdict_banner(TONES[judged.level], judged.headline.capitalize(), judged.sentence) + note(
        "There are no labels here: this says how much changes, not which is better. The promotion gate judges that."
    )
    users, items = figures.users, figures.catalogue
    facts = {
        "A": f"<code>{escape(figures.a[:12])}</code>, {items.a:,} items",
        "B": f"<code>{escape(figures.b[:12])}</code>, {items.b:,} items",
        "Both know": f"{items.both:,} items",
        "Compared": f"{users.compared:,} of {users.given:,} users",
    }
    return page("What would change", facts, banner, _cards(figures), _sections(figures), footer="Written by recsys.")


def _cards(figures: DriftFigures) -> list[str]:
    neighbours = figures.neighbours
    return [
        card(f"{figures.overlap:.0%}", f"of the top {figures.k} stays", f"mean over {figures.users.compared:,} users"),
        card(f"{figures.same_first:.0%}", "of the users", "keep their first item"),
        *(
            [card(f"{neighbours.overlap:.0%}", "of the neighbours stay", "of an item, by cosine")]
            if neighbours is not None
            else []
        ),
        card(f"{len(figures.hubs):,}", "new hubs", f"in {HUB_SHARE:.0%} of B's lists or more, {HUB_GROWTH} times A's"),
    ]


def _sections(figures: DriftFigures) -> dict[str, str]:
    """HTML by heading."""
    rows = [[escape(_named(hub)), f"{hub.a:.1%}", f"{hub.b:.1%}"] for hub in figures.hubs[:10]]
    return {
        "Do users get other items?": figure(partial(common_chart, figures.users_by_common))
        + table(["what is compared", "stays", "by chance"], _agreement(figures), narrow=True)
        + note("The share of A's list that is also in B's, each from its own index, without items of the history. "
               "Neighbours are by cosine, among the items that both know."),
        "Which items gain, and which lose?": figure(
            partial(items_chart, figures.items, figures.hubs),
            "The most listed items. Above the line: more in B's lists than in A's.",
        ) + (table(["new hub", "A's lists", "B's lists"], rows) if rows else paragraph("No item became a hub.")),
        "Popularity, coverage and scores": table(["", "A", "B"], _properties(figures), narrow=True)
        + note("Popularity and novelty are by A's training counts, over the items that A knows. Scores are mean ± "
               "standard deviation; those of A and B may be on different scales, so a shift alone means nothing."),
        "May the versions be mixed?": paragraph(_mixing(figures)),
    }  # fmt: skip


def common_chart(counts: Sequence[int], width: int) -> str:
    """Bars: the share of the users by the number of items that A's and B's lists have in common."""
    rows: list[charts.Row] = [
        {"common": common, "share": count / sum(counts), "tip": f"{common} in common: {count:,} users"}
        for common, count in enumerate(counts)
    ]
    chart = alt.Chart(charts.data(rows)).mark_bar(color=palette.LIGHT["blue"]).encode(
        x=alt.X("common:O", title=f"items in common, of {len(counts) - 1}", axis=alt.Axis(labelAngle=0)),
        y=alt.Y("share:Q", title="share of the users", axis=alt.Axis(format="%", tickCount=5)),
        description="tip:N",
    )  # fmt: skip
    return charts.svg(chart.properties(width=width, height=200), "items in common by user")


def items_chart(items: Sequence[ListedItem], hubs: Sequence[ListedItem], width: int) -> str:
    """A dot for each item: the share of A's lists and of B's that hold it; new hubs stand out."""
    rows: list[charts.Row] = [
        {"A": item.a, "B": item.b, "hub": item in hubs,
         "tip": f"{_named(item)}: {item.a:.1%} of A's lists, {item.b:.1%} of B's"}
        for item in items
    ]  # fmt: skip
    top = max(max(item.a, item.b) for item in items)
    phone = width <= charts.PHONE
    axis = alt.Axis(format="%", tickCount=4 if phone else 6)
    scale = alt.Scale(type="sqrt", domain=[0, top], nice=False)
    dots = alt.Chart(charts.data(rows)).mark_circle(size=50, opacity=0.7).encode(
        x=alt.X("A:Q", title="share of A's lists", axis=axis, scale=scale),
        y=alt.Y("B:Q", title="share of B's lists", axis=axis, scale=scale),
        color=alt.condition("datum.hub", alt.value(palette.LIGHT["red"]), alt.value(palette.LIGHT["blue"])),
        description="tip:N",
    )  # fmt: skip
    ends = charts.data([{"A": 0, "B": 0}, {"A": top, "B": top}])
    line = alt.Chart(ends).mark_line(color=palette.LIGHT["axis"], strokeDash=[4, 4], aria=False)
    size = width if phone else 520
    return charts.svg(
        (line.encode(x="A:Q", y="B:Q") + dots).properties(width=size, height=min(420, size)),
        "items by their share of the lists",
    )
