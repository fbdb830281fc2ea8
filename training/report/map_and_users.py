"""The part of the report that people recognise: items on a map and example users, by their titles."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from recsys import metrics
from recsys.config import Config
from recsys.data import Dataset, Encoder, Int32, encode_lists
from recsys.retriever import Retriever

from ..evaluation import K_VALUES, SEED, ItemMap
from . import charts
from .html import escape, figure, paragraph

MAP_CATEGORIES = 10
SAMPLE = 2_000  # test queries to draw from
EXAMPLES, EXAMPLE_HITS = 4, 2
SHOWN_HISTORY = SHOWN_ITEMS = 8


def item_titles(items: pl.DataFrame, column: str | None) -> pl.Series:
    """[num_items] what people call each item, in catalogue order: its title, else its id."""
    ids = pl.col("item_id").cast(pl.String)
    named = column or ("title" if "title" in items.columns else None)
    label_of = pl.coalesce(pl.col(named).cast(pl.String), ids) if named else ids
    return items.select(title=label_of).to_series()


def item_map(item_map: ItemMap, dataset: Dataset, titles: pl.Series, config: Config) -> str:
    """The items on the plane, by their first category where there is one, else by popularity."""
    positions, xy = np.array(item_map.positions), np.array(item_map.xy).reshape(-1, 2)
    names, column = titles.gather(positions - 1).to_list(), category_column(dataset.items(), config)
    colours: Sequence[Any]
    if column is None:
        categories, colours, by = None, dataset.item_counts[positions].tolist(), "training events"
        tips = [f"{name}: {count:,} training events" for name, count in zip(names, colours, strict=True)]
    else:
        values = first_category(dataset.items().get_column(column)).gather(positions - 1)
        categories = common_values(values)
        colours, by = [value if value in categories else charts.OTHER for value in values], f"“{column}”"
        tips = [f"{name} ({value})" for name, value in zip(names, values, strict=True)]
    points = [
        {"x": x, "y": y, "colour": colour, "tip": tip}
        for (x, y), colour, tip in zip(xy.tolist(), colours, tips, strict=True)
    ]
    total = dataset.encoder.num_items
    shown = f"All {total:,}" if len(points) == total else f"{len(points):,} of the {total:,}"
    caption = (
        f"{shown} items, coloured by {by}. Neighbours have similar vectors; how far apart distant groups are means "
        "nothing (t-SNE). Hover for titles."
    )
    return f"<h3>Map of the items</h3>{figure(charts.item_map(points, categories=categories), caption)}"


def category_column(items: pl.DataFrame, config: Config) -> str | None:
    """The column that colours the map: the first categorical feature, else the first list of words."""
    kinds = ("categorical", "multi_categorical")
    features = [feature.name for feature in config.features.item if feature.kind in kinds]
    lists = [name for name, dtype in items.schema.items() if dtype == pl.List(pl.String)]
    return next((name for name in [*features, *lists] if name in items.columns), None)


def first_category(column: pl.Series) -> pl.Series:
    """[num_items] the value, or the first one of a list, as text; "none" where there is none."""
    listed = isinstance(column.dtype, pl.List | pl.Array)
    first = column.cast(pl.List(pl.String)).list.first() if listed else column.cast(pl.String)
    return first.fill_null("none")


def common_values(values: pl.Series) -> list[str]:
    """The most frequent values, with "other" last where there are more than fit."""
    ranked = values.value_counts().sort(["count", values.name], descending=[True, False]).get_column(values.name)
    few = ranked.to_list()
    return few if len(few) <= MAP_CATEGORIES else [*few[:MAP_CATEGORIES], charts.OTHER]


def examples(retriever: Retriever, queries: pl.DataFrame, titles: pl.Series) -> str:
    """Some users with the end of their history and their recommendations: hits and misses, chosen by lot."""
    encoder = retriever.bundle.encoder
    drawn = queries[np.random.default_rng(SEED).permutation(queries.height)[:SAMPLE]]
    history, targets = (encode_lists(encoder, drawn.get_column(name)) for name in ("history", "targets"))
    ranked = retriever.rank(history, retriever.user_rows(drawn.get_column("user_id")), k=max(K_VALUES)).positions
    hit = metrics.hits(ranked, targets)[:, :SHOWN_ITEMS].any(axis=1)
    hits = np.flatnonzero(hit)[:EXAMPLE_HITS]
    chosen = [*hits, *np.flatnonzero(~hit)[: EXAMPLES - len(hits)]]
    boxes = [
        user_box(drawn.row(int(row), named=True), ranked[row], targets[int(row)], encoder, titles) for row in chosen
    ]
    return (
        paragraph(
            f"Drawn at random: {len(hits)} users whose held-out item is among the first {SHOWN_ITEMS}, and "
            f"{len(chosen) - len(hits)} for whom it is not. Of {len(drawn):,} users drawn, {hit.mean():.1%} are hits."
        )
        + f'<div class="users">{"".join(boxes)}</div>'
    )


def user_box(query: Mapping[str, Any], ranked_K: Int32, wanted: Int32, encoder: Encoder, titles: pl.Series) -> str:
    """One user: the last items of the history, the first recommendations with hits marked, and what was held out."""

    def name(item_id: object, position: int) -> str:
        return escape(titles[position - 1]) if position else f"{escape(item_id)} <small>not in the catalogue</small>"

    past = query["history"]
    places = encoder.positions(pl.Series(past[-SHOWN_HISTORY:], dtype=encoder.item_ids.dtype)).tolist()
    seen = "".join(f"<li>{name(*each)}</li>" for each in zip(past[-SHOWN_HISTORY:], places, strict=True))
    first = ranked_K[:SHOWN_ITEMS][ranked_K[:SHOWN_ITEMS] > 0].tolist()
    given = "".join(
        f'<li class="hit">{name("", place)} ✓ held out</li>' if place in wanted else f"<li>{name('', place)}</li>"
        for place in first
    )
    held = [
        f"{name(*each)} ({standing(ranked_K, each[1])})" for each in zip(query["targets"], wanted.tolist(), strict=True)
    ]
    more = f" and {len(held) - 3:,} more" if len(held) > 3 else ""
    return (
        f'<div class="user"><h3>User {escape(query["user_id"])}</h3><div class="columns">'
        f"<div><small>last {len(places)} of {len(past):,} in the history</small><ul>{seen}</ul></div>"
        f"<div><small>recommended, best first</small><ol>{given}</ol></div></div>"
        f"<p>Held out: {'; '.join(held[:3])}{more}</p></div>"
    )


def standing(ranked_K: Int32, position: int) -> str:
    """Where a wanted item stands in the ranking."""
    if position and position in ranked_K:
        return f"rank {ranked_K.tolist().index(position) + 1}"
    return f"not among the first {len(ranked_K)}"
