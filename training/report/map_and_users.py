"""The parts of the report that people recognise: items on a map and example users, by their titles."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import polars as pl

from recsys import metrics
from recsys.config import Config
from recsys.data import Encoder, Int32, encode_lists
from recsys.errors import InputError
from recsys.plain_text import counted, plain_text

from ..evaluation import K_VALUES, MAP, SEED
from . import charts
from .html import escape, legend, paragraph, picture
from .inputs import ReportInputs
from .palette import CATEGORIES, LIGHT

OTHER = "other"
LONGEST_CATEGORY, LONGEST_TITLE = 60, 100  # characters
SAMPLE = 2_000  # test queries to draw from
EXAMPLES, EXAMPLE_HITS = 4, 2
SHOWN_HISTORY = SHOWN_ITEMS = 8


def item_map(inputs: ReportInputs) -> str:
    """The items on the plane, coloured by their first category if there is one, else by popularity."""
    if inputs.item_map is None:
        raise InputError(inputs.evaluation.left_out[MAP])
    positions, dataset = np.array(inputs.item_map.positions), inputs.dataset
    names, column = inputs.titles.gather(positions - 1).to_list(), category_column(dataset.items(), inputs.config)
    counts = dataset.item_counts[positions].tolist()
    colours: Sequence[str | float]
    if column is None:
        shades, colours, subject = None, counts, "training events (yellow: few, blue: many)"
        tips = [f"{name}: {count:,} training events" for name, count in zip(names, counts, strict=True)]
    else:
        values = first_category(dataset.items().get_column(column).gather(positions - 1))
        categories = common_values(values)
        shades = dict(zip(categories, CATEGORIES, strict=False)) | ({OTHER: "other"} if OTHER in categories else {})
        colours, subject = [value if value in categories else OTHER for value in values], f"“{column}”"
        tips = [f"{name} ({value})" for name, value in zip(names, values, strict=True)]
    points = [
        {"x": x, "y": y, "colour": colour, "tip": tip}
        for (x, y), colour, tip in zip(inputs.item_map.xy, colours, tips, strict=True)
    ]
    total = dataset.encoder.num_items
    shown = f"All {total:,} items" if len(points) == total else f"{len(points):,} of the {total:,} items"
    caption = (
        f"{shown}, coloured by {subject}. Neighbours have similar vectors; the distance between groups has no "
        "meaning (t-SNE). Hover over an item for its title."
    )
    palette = None if shades is None else {name: LIGHT[shade] for name, shade in shades.items()}
    drawn = picture(partial(charts.item_map, points, palette), caption, "map")
    return "<h3>Map of the items</h3>" + legend(shades or {}) + drawn


def category_column(items: pl.DataFrame, config: Config) -> str | None:
    """The column that colours the map: the first categorical feature, or else the first list of words."""
    kinds = ("categorical", "multi_categorical")
    features = [feature.name for feature in config.features.item if feature.kind in kinds]
    lists = [name for name, dtype in items.schema.items() if dtype == pl.List(pl.String)]
    return next((name for name in [*features, *lists] if name in items.columns), None)


def first_category(column: pl.Series) -> pl.Series:
    """[n] the value, or the first of a list, as text that a legend can hold; "none" if there is none."""
    listed = isinstance(column.dtype, pl.List | pl.Array)
    first = column.cast(pl.List(pl.String)).list.first() if listed else column.cast(pl.String)
    return pl.Series(first.name, [plain_text(value, LONGEST_CATEGORY) for value in first.fill_null("none")], pl.String)


def common_values(values: pl.Series) -> list[str]:
    """The most frequent values; "other" comes last if there are more values than colours."""
    ranked = values.value_counts().sort(["count", values.name], descending=[True, False]).get_column(values.name)
    names = ranked.to_list()
    return names if len(names) <= len(CATEGORIES) else [*names[: len(CATEGORIES)], OTHER]


def examples(inputs: ReportInputs) -> str:
    """Some users with the end of their history and their recommendations: hits and misses, drawn at random."""
    retriever, queries = inputs.retriever, inputs.queries
    encoder = retriever.bundle.encoder
    drawn = queries[np.random.default_rng(SEED).permutation(queries.height)[:SAMPLE]]
    history, targets = (encode_lists(encoder, drawn.get_column(name)) for name in ("history", "targets"))
    ranked = retriever.rank(history, retriever.user_rows(drawn.get_column("user_id")), k=max(K_VALUES)).positions
    hit = metrics.hits(ranked, targets)[:, :SHOWN_ITEMS].any(axis=1)
    served = np.flatnonzero(hit)[:EXAMPLE_HITS]
    missed = np.flatnonzero(~hit)[: EXAMPLES - len(served)]
    labels, boxes = Labels(encoder, inputs.titles), list[str]()
    for row in [*served.tolist(), *missed.tolist()]:
        user_id, past, taken = (drawn.get_column(name)[row] for name in ("user_id", "history", "targets"))
        user = ExampleUser(user_id, past.to_list(), taken.to_list(), targets[row], ranked[row])
        boxes.append(user_box(user, labels))
    users = counted(len(drawn), "user") + (" drawn at random" if len(drawn) < queries.height else "")
    return (
        paragraph(
            f"A hit is a recommended item that the user took next, among the first {SHOWN_ITEMS}: {hit.mean():.1%} of "
            f"{users}. Below: {counted(len(served), 'user')} with a hit and {len(missed)} without."
        )
        + f'<div class="users">{"".join(boxes)}</div>'
    )


@dataclass(frozen=True)
class Labels:
    """What items are called on the page. titles: [num_items], in catalogue order."""

    encoder: Encoder
    titles: pl.Series

    def of_position(self, position: int) -> str:
        """The title of the item at a catalogue position, as HTML."""
        return escape(plain_text(self.titles[position - 1], LONGEST_TITLE))

    def of_id(self, item_id: object, position: int) -> str:
        """The title of an item, as HTML; its id where it is not in the catalogue (position 0)."""
        return self.of_position(position) if position else f"{escape(item_id)} <small>not in the catalogue</small>"


@dataclass(frozen=True)
class ExampleUser:
    """A test query and its answer.

    history, targets: raw item ids. target_positions: catalogue positions of the targets, 0 if not in the catalogue.
    ranked: [K] the recommended positions, best first, 0 as padding.
    """

    user_id: object
    history: list[object]
    targets: list[object]
    target_positions: Int32
    ranked: Int32


def user_box(user: ExampleUser, labels: Labels) -> str:
    """One user: the last items of the history, the first recommendations with hits marked, and what was held out."""
    history, ranked_K = user.history, user.ranked
    latest = history[-SHOWN_HISTORY:]
    positions = labels.encoder.positions(pl.Series(latest, dtype=labels.encoder.item_ids.dtype)).tolist()
    seen = "".join(f"<li>{labels.of_id(*item)}</li>" for item in zip(latest, positions, strict=True))
    first = ranked_K[:SHOWN_ITEMS][ranked_K[:SHOWN_ITEMS] > 0].tolist()
    recommended = "".join(
        f'<li class="hit">{labels.of_position(position)} ✓ taken next</li>'
        if position in user.target_positions
        else f"<li>{labels.of_position(position)}</li>"
        for position in first
    )
    taken = [
        f"{labels.of_id(item_id, position)} ({standing(ranked_K, position)})"
        for item_id, position in zip(user.targets, user.target_positions.tolist(), strict=True)
    ]
    more = f" and {len(taken) - 3:,} more" if len(taken) > 3 else ""
    return (
        f'<div class="user"><h3>User {escape(user.user_id)}</h3><div class="columns">'
        f"<div><small>history: last {len(latest)} of {len(history):,}</small><ul>{seen}</ul></div>"
        f"<div><small>recommended, best first</small><ol>{recommended}</ol></div></div>"
        f"<p>Taken next: {'; '.join(taken[:3])}{more}</p></div>"
    )


def standing(ranked_K: Int32, position: int) -> str:
    """The rank of a held-out item."""
    if position and position in ranked_K:
        return f"rank {ranked_K.tolist().index(position) + 1}"
    return f"not among the first {len(ranked_K)}"
