"""The drift watch for people: the verdict, the lines for a terminal, and the page with its charts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import altair as alt

from recsys.plain_text import one_line

from ..evaluation import FEW_QUERIES
from ..report import Tone, card, charts, escape, figure, note, page, palette, paragraph, table, verdict_banner
from .compare import HUB_GROWTH, HUB_SHARE
from .figures import DriftFigures, ItemInList, ListedItem, UserLists

# The share of a user's answers that stays. Another seed alone leaves .86 on the demo and .58 on ml-100k: a small change
# is what any training brings, a large one is more than a seed does.
SMALL, LARGE = 0.8, 0.5
SHOWN_ITEMS = 5  # of a user's list, in a terminal
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
    if figures.same_lists:
        return Verdict("identical", f"A and B give the same answers to all of the {figures.users.compared:,} users.")
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
        yield f"{hubs[0]} is in {hubs[0].b:.0%} of B's lists, in {hubs[0].a:.0%} of A's{more}."
    if figures.new_items > SHIFT:
        yield f"{figures.new_items:.0%} of what B recommends are items that A does not know."
    if abs(b.popular - a.popular) > SHIFT:
        yield (
            f"The most popular tenth of the items is {a.popular:.0%} of what A recommends, {b.popular:.0%} of what B "
            "does."
        )
    if abs(b.coverage - a.coverage) > SHIFT:
        yield f"A shows {a.coverage:.0%} of its catalogue, B {b.coverage:.0%}."


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


def lines(figures: DriftFigures, names: tuple[str, str] | None = None) -> list[str]:
    """The verdict and the figures as a person reads them in a terminal.

    Args:
        figures: What was compared.
        names: What A and B are, such as "shop version 3 (champion)"; None for their bundle ids alone.
    """
    judged = verdict(figures)
    return [
        f"{judged.headline}: {judged.sentence}",
        *([] if names is None else [f"{side}: {name}" for side, name in zip("AB", names, strict=True)]),
        _basis(figures),
        f"{'stays':30}{'share':>14}{'by chance':>14}",
        *(f"{name:30}{share:>14}{chance:>14}" for name, share, chance in _agreement(figures)),
        f"{'':30}{'A':>14}{'B':>14}",
        *(f"{name:30}{a:>14}{b:>14}" for name, a, b in _properties(figures)),
        *(() if judged.level == "identical" else _changes(figures)),
        *([] if figures.a == figures.b else [_mixing(figures)]),
    ]


def _changes(figures: DriftFigures) -> Iterator[str]:
    """The items that gain and lose most, and a few users' lists."""
    for heading, items in (("gain most", figures.gains), ("lose most", figures.losses)):
        if items:
            yield f"{heading:30}{'A lists':>14}{'B lists':>14}"
            yield from (f"{_cut(str(item), 30):30}{item.a:>14.1%}{item.b:>14.1%}" for item in items)
    for user in figures.examples:
        yield f"{user.user} keeps {user.common} of {len(user.a)}"
        for side, listed in (("A", user.a), ("B", user.b)):
            yield f"  {side}: " + ", ".join(_cut(one_line(item.title), 30) for item in listed[:SHOWN_ITEMS])


def _cut(text: str, width: int) -> str:
    """The text on one line, cut to a width."""
    text = " ".join(text.split())
    return text if len(text) <= width else f"{text[: width - 1]}…"


def _basis(figures: DriftFigures) -> str:
    users, items = figures.users, figures.catalogue
    few = ", few: read with care" if users.compared < FEW_QUERIES else ""
    return (
        f"A {figures.a[:12]} has {items.a:,} items, B {figures.b[:12]} {items.b:,}; both know "
        f"{items.both:,}. {users.compared:,} of {users.given:,} users compared{few}."
    )


def render(figures: DriftFigures, names: tuple[str, str] | None = None) -> str:
    """The page as HTML text; arguments as in ``lines``. The same figures give the same text."""
    judged = verdict(figures)
    banner = verdict_banner(TONES[judged.level], judged.headline.capitalize(), judged.sentence) + note(
        "There are no labels here: this says how much changes, not which is better. The promotion gate judges that."
    )
    users, items = figures.users, figures.catalogue
    a, b = ("", "") if names is None else (f"{escape(name)}, " for name in names)
    facts = {
        "A": f"{a}<code>{escape(figures.a[:12])}</code>, {items.a:,} items",
        "B": f"{b}<code>{escape(figures.b[:12])}</code>, {items.b:,} items",
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
    return {
        "Do users get other items?": figure(partial(common_chart, figures.users_by_common))
        + table(["what is compared", "stays", "by chance"], _agreement(figures), narrow=True)
        + note("The share of A's list that is also in B's, each from its own index, without items of the history. "
               "Neighbours are by cosine, among the items that both know."),
        "Which items gain, and which lose?": figure(
            partial(items_chart, figures.items, figures.hubs),
            "The most listed items. Above the line: more in B's lists than in A's.",
        ) + (_movers("new hub", figures.hubs[:10]) or paragraph("No item became a hub."))
        + _movers("gains most", figures.gains) + _movers("loses most", figures.losses),
        "What do users get now, and what would they get?": "".join(map(_side_by_side, figures.examples)),
        "Popularity, coverage and scores": table(["", "A", "B"], _properties(figures), narrow=True)
        + note("Popularity and novelty are by A's training counts, over the items that A knows. Scores are mean ± "
               "standard deviation; those of A and B may be on different scales, so a shift alone means nothing."),
        "May the versions be mixed?": paragraph(_mixing(figures)),
    }  # fmt: skip


def _movers(heading: str, items: Sequence[ListedItem]) -> str:
    """A table of items and their shares of the lists; nothing where there are none."""
    rows = [[escape(item), f"{item.a:.1%}", f"{item.b:.1%}"] for item in items]
    return table([heading, "A's lists", "B's lists"], rows) if rows else ""


def _side_by_side(user: UserLists) -> str:
    """A user's lists beside each other; what is in one of them only is bold."""
    ids = {item.item_id for item in user.a} & {item.item_id for item in user.b}

    def cell(items: Sequence[ItemInList], rank: int) -> str:
        if rank >= len(items):
            return ""
        text = escape(items[rank].title)
        return text if items[rank].item_id in ids else f"<b>{text}</b>"

    ranks = range(max(len(user.a), len(user.b)))
    rows = [[str(rank + 1), cell(user.a, rank), cell(user.b, rank)] for rank in ranks]
    title = note(f"{user.user[0].upper()}{user.user[1:]} keeps {user.common} of {len(user.a)}. Bold: in one list only.")
    return title + table(["rank", "A", "B"], rows, words=(1, 2))


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
         "tip": f"{item}: {item.a:.1%} of A's lists, {item.b:.1%} of B's"}
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
