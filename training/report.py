"""report.html: one self-contained page that says whether a model is good, and shows why.

Shapes: Q queries, K ranks, N catalogue positions.
"""

import importlib.metadata
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl

import recsys
from recsys import files, metrics
from recsys.config import Config
from recsys.dataset import Dataset, encode_lists
from recsys.encoder import Encoder
from recsys.history import Int32, Int64
from recsys.retriever import Retriever

from . import charts
from .charts import label
from .checkpoint import Progress
from .evaluate import ITEM_KNN, K_VALUES, MODEL, POPULARITY, SEED
from .page import card, escape, figure, note, page, paragraph, swatch, table, with_interval
from .recipe import resolve

SAMPLE = 2_000  # test queries behind the popularity bias
MAP_POINTS = 3_000
MAP_CATEGORIES = 8
EXAMPLES, EXAMPLE_HITS = 4, 2
SHOWN_HISTORY = SHOWN_ITEMS = 8
FEW_QUERIES = 100
METHODS = (MODEL, ITEM_KNN, POPULARITY)


@dataclass(frozen=True)
class Verdict:
    """Whether the model is good, in one plain sentence."""

    tone: Literal["good", "unclear", "bad"]
    word: str
    sentence: str


def render(records: Path, dataset: Dataset, retriever: Retriever, progress: Progress, config: Config) -> str:
    """The page of a training as HTML text; same inputs, same text.

    records: the folder that ``publish.write_records`` wrote.
    """
    evaluation = files.read_json(records / "evaluation.json")
    queries = pl.read_parquet(records / "queries_test.parquet")
    titles = item_titles(dataset.items(), config.data.title)
    sections = {
        "Is it better than simple methods?": comparison(evaluation, pl.read_parquet(records / "per_query.parquet")),
        "Where is it good, and where not?": slices(evaluation),
        "Training": training(progress, config, dataset),
        "Geometry of the space": geometry(evaluation["geometry"], config)
        + item_map(files.read_json(records / "map.json"), dataset, titles, config),
        "Index": index(evaluation["index"], dataset.encoder.num_items),
        "Popularity bias": popularity_bias(evaluation["spread"], retriever, queries),
        "A few users": examples(retriever, queries, titles),
        "Data": data_summary(dataset.manifest["statistics"]),
        "Configuration and versions": configuration(config, dataset, retriever.bundle_id),
    }
    found = verdict(evaluation)
    banner = f'<p class="verdict {found.tone}"><b>{found.word}:</b> {escape(found.sentence)}</p>'
    subtitle = (
        f"Bundle <code>{retriever.bundle_id[:12]}</code> · {dataset.encoder.num_items:,} items · "
        f"{dataset.manifest['statistics']['users']:,} users · {dataset.item_counts.sum():,} training events"
    )
    return page(config.registry.name, subtitle, banner, cards(evaluation), sections)


def verdict(evaluation: Mapping[str, Any]) -> Verdict:
    """Good: every paired 95% interval of model minus baseline lies above zero. Bad: one lies below. Else unclear."""
    headline, methods, differences = evaluation["headline"], evaluation["methods"], evaluation["differences"]
    strongest = min(differences, key=lambda name: differences[name]["mean"])
    difference = differences[strongest]
    against = f"{label(strongest)}{', the strongest baseline,' if len(differences) > 1 else ''}"
    by = gap(difference["mean"], methods[strongest][headline]["mean"])
    interval = f"95% interval of the difference {difference['low']:+.4f} to {difference['high']:+.4f}"
    measured = f"in {metric_name(headline)} on {evaluation['num_queries']:,} held-out queries"
    if all(each["low"] > 0 for each in differences.values()):
        return Verdict("good", "Good", f"beats {against} by {by} {measured} ({interval}, above zero).")
    if any(each["high"] < 0 for each in differences.values()):
        return Verdict("bad", "Not good yet", f"behind {against} by {by} {measured} ({interval}, below zero).")
    side = "ahead of" if difference["mean"] > 0 else "behind"
    chance = f"{interval}, holds zero: it may be chance"
    return Verdict("unclear", "Undecided", f"{side} {against} by {by} {measured} ({chance}).")


def gap(difference: float, baseline: float) -> str:
    """How large a difference is: a share of the baseline, or the plain number where the baseline is at zero."""
    return f"{abs(difference) / baseline:.0%}" if baseline > 0 else f"{abs(difference):.4f}"


def metric_name(metric: str) -> str:
    """``ndcg@10`` as people write it."""
    name, _, k = metric.partition("@")
    return f"{name.upper() if name in ('ndcg', 'mrr') else name.capitalize()}@{k}"


def in_order(methods: Mapping[str, Any]) -> dict[str, Any]:
    """The methods, ours first: JSON sorted them by name."""
    return {name: methods[name] for name in METHODS if name in methods}


def cards(evaluation: Mapping[str, Any]) -> str:
    """The figures one asks for first."""
    headline, model = evaluation["headline"], evaluation["methods"][MODEL]
    score, spread = model[headline], evaluation["spread"][MODEL]
    shown = [
        (f"{score['mean']:.4f}", metric_name(headline), f"{score['low']:.4f} to {score['high']:.4f}"),
        *(
            (f"{each['mean'] / evaluation['methods'][name][headline]['mean']:+.0%}", f"against {label(name)}",
             f"{each['low']:+.4f} to {each['high']:+.4f}")
            for name, each in evaluation["differences"].items() if evaluation["methods"][name][headline]["mean"]
        ),
        (f"{model['recall@100']['mean']:.1%}", "Recall@100", "held-out items among 100 candidates"),
        (f"{spread['coverage@10']:.1%}", "Coverage@10", "of the catalogue in someone's top 10"),
    ]  # fmt: skip
    return "".join(card(*each) for each in shown)


def comparison(evaluation: Mapping[str, Any], per_query: pl.DataFrame) -> str:
    """The headline metric of every method, then all figures."""
    headline, methods = evaluation["headline"], in_order(evaluation["methods"])
    names = [headline, *(f"recall@{k}" for k in K_VALUES), *(f"ndcg@{k}" for k in K_VALUES[1:]), "mrr@10"]
    best = {name: max(figures[name]["mean"] for figures in methods.values()) for name in names}
    rows = [
        [swatch(method), *(with_interval(figures[name], figures[name]["mean"] == best[name]) for name in names)]
        for method, figures in methods.items()
    ]
    bars = charts.comparison({name: each[headline] for name, each in methods.items()}, metric_name(headline))
    duels = [duel(per_query, name, metric_name(headline)) for name in evaluation["differences"]]
    return (
        figure(bars)
        + paragraph(*duels)
        + table(["method", *(metric_name(name) for name in names)], rows)
        + note("Means over the queries with 95% bootstrap intervals; the best of a column is bold. All methods answer "
               "the same queries over the full catalogue, items already seen left out.")
    )  # fmt: skip


def duel(per_query: pl.DataFrame, other: str, metric: str) -> str:
    """On which share of the queries who was better."""
    better = (per_query.get_column(MODEL) - per_query.get_column(other)).to_numpy()
    return (
        f"Query by query against {label(other)}, the model's {metric} is higher on {np.mean(better > 0):.1%}, "
        f"lower on {np.mean(better < 0):.1%} and equal on {np.mean(better == 0):.1%}."
    )


def slices(evaluation: Mapping[str, Any]) -> str:
    """The headline metric of every method on each slice."""
    entries, methods = evaluation["slices"], [*in_order(evaluation["methods"])]
    rows = []
    for entry in entries:
        best = max(entry[method]["mean"] for method in methods)
        few = " <small>few: read with care</small>" if entry["num_queries"] < FEW_QUERIES else ""
        figures = [with_interval(entry[name], best > 0 and entry[name]["mean"] == best) for name in methods]
        rows.append([escape(entry["name"]), f"{entry['num_queries']:,}{few}", *figures])
    return (
        figure(charts.slices(entries, methods, "NDCG@10"))
        + table(["slice", "queries", *(label(name) for name in methods)], rows)
        + note("A slice of items counts only the targets among them; a slice of users only their queries.")
    )


def training(progress: Progress, config: Config, dataset: Dataset) -> str:
    """Curves by epoch and what they say."""
    history, best = progress.history, progress.best_epoch
    rows = [row | {"speed": row["tokens"] / row["seconds"]} for row in history]
    limit = resolve(config, dataset.encoder, dataset.train()[1]).epochs
    stopped = (
        "it was still improving at the last epoch: more epochs may help"
        if best == len(history) == limit
        else f"training ended at the limit of {limit} epochs"
        if len(history) == limit
        else f"training stopped after {len(history) - best} epochs without a better score"
    )
    kinds = [("loss", "Loss", ".2f"), ("score", "Validation NDCG@10", ".3f"), ("speed", "Training tokens/s", ",.0f")]
    drawn = "".join(
        f"<div><h3>{title}</h3>{charts.curve(rows, key, title, number=number, best_epoch=best)}</div>"
        for key, title, number in kinds
    )
    total, tokens = sum(row["seconds"] for row in rows), sum(row["tokens"] for row in rows)
    return f"<div class=three>{drawn}</div>" + paragraph(
        f"The weights of epoch {best} were kept (green), with validation NDCG@10 {progress.best_score:.4f}; {stopped}.",
        f"{len(history)} epochs of {tokens / len(history):,.0f} tokens took {total / 60:.1f} minutes, validation not "
        f"counted: {tokens / total:,.0f} tokens/s.",
    )


def geometry(figures: Mapping[str, float], config: Config) -> str:
    """Every figure of the space with what it means."""
    rows = []
    for name, value in figures.items():
        title, reading = READINGS.get(name, (name.replace("_", " "), ""))
        rows.append([escape(title), f"{value:.3f}", escape(reading.format(dim=config.model.embedding_dim))])
    return table(["figure", "value", "how to read it"], rows, words=(0, 2))


READINGS = {
    "alignment": (
        "alignment",
        "Mean squared distance between a user and the item they chose: 0 same place, 2 unrelated.",
    ),
    "uniformity": ("uniformity", "How evenly items fill the sphere: 0 all in one place, about −4 spread out."),
    "hubness": (
        "hubness",
        "Skewness of how often an item is a near neighbour: near 0 fair, above 2 a few items crowd the lists.",
    ),
    "effective_rank": ("effective rank", "How many of the {dim} dimensions the items really use."),
}


def item_map(positions_xy: Mapping[str, Any], dataset: Dataset, titles: pl.Series, config: Config) -> str:
    """The items on the plane, by their first category where there is one, else by popularity."""
    positions, xy = np.array(positions_xy["positions"]), np.array(positions_xy["xy"]).reshape(-1, 2)
    chosen = np.unique(np.linspace(0, len(positions) - 1, MAP_POINTS).astype(np.int64))
    positions, xy = positions[chosen], xy[chosen]
    names, column = titles.gather(positions - 1).to_list(), category_column(dataset.items(), config)
    colours: Sequence[Any]
    if column is None:
        categories, colours, by = None, dataset.item_counts[positions].tolist(), "training events"
        tips = [f"{name}: {count:,} training events" for name, count in zip(names, colours, strict=True)]
    else:
        values = first_category(dataset.items().get_column(column)).gather(positions - 1)
        categories = common_values(values)
        colours, by = [value if value in categories else charts.OTHER for value in values], f"first of “{column}”"
        tips = [f"{name} ({value})" for name, value in zip(names, values, strict=True)]
    points = [
        {"x": x, "y": y, "colour": colour, "tip": tip}
        for (x, y), colour, tip in zip(xy.tolist(), colours, tips, strict=True)
    ]
    shown = "all" if len(points) == dataset.encoder.num_items else f"{len(points):,} of {dataset.encoder.num_items:,}"
    caption = f"{shown} items, coloured by {by}. Items that the same users want lie close together; hover for titles."
    return f"<h3>Map of the items</h3>{figure(charts.item_map(points, categories=categories), caption)}"


def item_titles(items: pl.DataFrame, column: str | None) -> pl.Series:
    """[num_items] what people call each item, in catalogue order: its title, else its id."""
    ids = pl.col("item_id").cast(pl.String)
    named = column or ("title" if "title" in items.columns else None)
    label_of = pl.coalesce(pl.col(named).cast(pl.String), ids) if named else ids
    return items.select(title=label_of).to_series()


def category_column(items: pl.DataFrame, config: Config) -> str | None:
    """The column that colours the map: the first categorical feature, else the first list of words."""
    kinds = ("categorical", "multi_categorical")
    features = [feature.name for feature in config.features.item if feature.kind in kinds]
    lists = [name for name, dtype in items.schema.items() if dtype == pl.List(pl.String)]
    return next((name for name in [*features, *lists] if name in items.columns), None)


def first_category(column: pl.Series) -> pl.Series:
    """[num_items] the value, or the first one of a list, as text; "none" where there is none."""
    listed = isinstance(column.dtype, pl.List | pl.Array)
    return (column.list.first() if listed else column).cast(pl.String).fill_null("none")


def common_values(values: pl.Series) -> list[str]:
    """The most frequent values, with "other" last where there are more than fit."""
    ranked = values.value_counts().sort(["count", values.name], descending=[True, False]).get_column(values.name)
    few = ranked.to_list()
    return few if len(few) <= MAP_CATEGORIES else [*few[:MAP_CATEGORIES], charts.OTHER]


def index(spec: Mapping[str, Any], num_items: int) -> str:
    """What searches, and how much of the exact answer it finds."""
    if spec["kind"] == "exact":
        return paragraph(f"Exact search over all {num_items:,} items: every answer is the true top k (recall 1).")
    parameters = {
        name: value
        for name, value in spec.items()
        if value is not None and name not in ("kind", "recall", "target_recall")
    }
    rows = [[escape(name.replace("_", " ")), f"{value:,}"] for name, value in parameters.items()]
    reached = "reached" if spec["recall"] >= spec["target_recall"] else "NOT reached: choose index.kind = exact"
    return paragraph(
        f"Approximate search ({spec['kind'].upper()}) over {num_items:,} items. Recall@100 against exact search, measured "
        f"on user vectors when the index was built: {spec['recall']:.4f} (target {spec['target_recall']}, {reached})."
    ) + table(["parameter", "value"], rows)


def popularity_bias(spread: Mapping[str, Mapping[str, float]], retriever: Retriever, queries: pl.DataFrame) -> str:
    """How far each method leans on what is popular anyway."""
    rows = [
        [swatch(name), f"{spread[name]['coverage@10']:.1%}", f"{spread[name]['coverage@100']:.1%}",
         f"{spread[name]['novelty@10']:.2f} bits", f"{spread[name]['gini@10']:.3f}"]
        for name in in_order(spread)
    ]  # fmt: skip
    chosen = np.sort(np.random.default_rng(SEED).permutation(queries.height)[:SAMPLE])
    sample, counts = queries[chosen], retriever.bundle.item_counts
    history, targets = (
        encode_lists(retriever.bundle.encoder, sample.get_column(name)) for name in ("history", "targets")
    )
    shown = retriever.rank(history, retriever.user_rows(sample.get_column("user_id")), k=10).positions
    shares = {
        "training events": by_decile(counts, counts),
        "held-out items": by_decile(np.bincount(targets.values, minlength=len(counts)), counts),
        "recommended in the top 10": by_decile(np.bincount(shown.ravel(), minlength=len(counts)), counts),
    }
    top = {name: values[0] for name, values in shares.items()}
    return (
        table(["method", "coverage@10", "coverage@100", "novelty@10", "gini@10"], rows)
        + note("Coverage: the share of the catalogue that anyone is shown. Novelty: how rare the shown items are in "
               "training. Gini: 0 where all items are shown equally often, 1 where only one is.")
        + figure(charts.deciles(shares))
        + paragraph(
            f"The most popular tenth of the items makes up {top['training events']:.0%} of the training events, "
            f"{top['held-out items']:.0%} of what the held-out users chose, and "
            f"{top['recommended in the top 10']:.0%} of what the model recommends ({len(sample):,} test queries)."
        )
    )  # fmt: skip


def by_decile(amounts_N: Int64, counts_N: Int64) -> list[float]:
    """The share of ``amounts`` that falls on each tenth of the items, the most popular first; position 0 is left out."""
    tenths = np.array_split(np.argsort(-counts_N[1:], kind="stable") + 1, 10)
    return [float(amounts_N[tenth].sum() / max(1, amounts_N[1:].sum())) for tenth in tenths]


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
            f"{len(chosen) - len(hits)} for whom it is not. In truth {hit.mean():.1%} of the users are hits."
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
    earlier = f"<small>{len(past) - len(places):,} earlier, then</small>" if len(past) > len(places) else ""
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
        f"<div><small>history, newest last</small> {earlier}<ul>{seen}</ul></div>"
        f"<div><small>recommended, best first</small><ol>{given}</ol></div></div>"
        f"<p>Chose next: {'; '.join(held[:3])}{more}</p></div>"
    )


def standing(ranked_K: Int32, position: int) -> str:
    """Where a wanted item stands in the ranking."""
    places = np.flatnonzero(ranked_K == position) if position else []
    return f"rank {int(places[0]) + 1}" if len(places) else f"not among the first {len(ranked_K)}"


def data_summary(statistics: Mapping[str, int]) -> str:
    """What was read, what was put aside and why, and what is left."""
    rows, events = statistics["rows"], statistics["events"]
    words = [f"{rows:,} rows were read and {events:,} kept as events; {quarantine(statistics, '')}."]
    if "test rows" in statistics:
        words.append(
            f"The test file has {statistics['test rows']:,} rows, {statistics['test events']:,} kept; "
            f"{quarantine(statistics, 'test ')}."
        )
    if statistics["equal_times"]:
        words.append(
            f"{statistics['equal_times']:,} events share their time with the same user's previous one: the order of "
            "the file decides there."
        )
    cold = statistics["items"] - statistics["trained_items"]
    shown = {
        "users": statistics["users"], "items in the catalogue": statistics["items"],
        "items with training events": statistics["trained_items"], "cold items": cold,
        "training events": statistics["training_events"], "validation queries": statistics["validation_queries"],
        "test queries": statistics["test_queries"],
    }  # fmt: skip
    return paragraph(*words) + table(["what is left", "number"], [[name, f"{each:,}"] for name, each in shown.items()])


def quarantine(statistics: Mapping[str, int], part: str) -> str:
    """The rejected rows in words."""
    prefix = f"{part}quarantined: "
    reasons = sorted((name.removeprefix(prefix), n) for name, n in statistics.items() if name.startswith(prefix))
    if not reasons:
        return "none had to be quarantined"
    detail = ", ".join(f"{count:,} {QUARANTINE.get(reason, reason)}" for reason, count in reasons)
    return f"{sum(count for _, count in reasons):,} are in quarantine.parquet: {detail}"


QUARANTINE = {
    "no user_id": "without a user id", "no item_id": "without an item id", "no time": "without a time",
    "duplicate": "repeats of an earlier row",
}  # fmt: skip


def configuration(config: Config, dataset: Dataset, bundle_id: str) -> str:
    """All settings as TOML, what was chosen for the data, and the versions that ran."""
    named = {
        "recsys": recsys.__version__, "python": platform.python_version(),
        **{name: version(*names) for name, names in PACKAGES.items()},
    }  # fmt: skip
    rows = [["bundle", f"<code>{bundle_id}</code>"], ["dataset", f"<code>{dataset.digest}</code>"]]
    rows += [[name, escape(value)] for name, value in named.items()]
    return f"<pre>{escape(as_toml(config, dataset))}</pre>" + table(["what", "version or digest"], rows, words=(0, 1))


PACKAGES = {
    "torch": ("torch",), "torchrec": ("torchrec",), "polars": ("polars",), "mlflow": ("mlflow",),
    "faiss": ("faiss-cpu", "faiss-gpu", "faiss-gpu-cuvs"),
}  # fmt: skip


def version(*packages: str) -> str:
    """The version of the first package that is installed."""
    for package in packages:
        try:
            return f"{importlib.metadata.version(package)} ({package})"
        except importlib.metadata.PackageNotFoundError:
            continue
    return "not installed"


def as_toml(config: Config, dataset: Dataset) -> str:
    """The configuration as TOML; what it leaves open stands as a comment with the value chosen for the data."""
    recipe = resolve(config, dataset.encoder, dataset.train()[1])
    chosen = {**asdict(recipe), **asdict(recipe.model)}
    lines: list[str] = []
    for section, values in config.model_dump(mode="json").items():
        if section == "features":
            for role, columns in values.items():
                for column in columns:
                    lines += [
                        f"[[features.{role}]]",
                        *(f"{key} = {json.dumps(value)}" for key, value in column.items()),
                        "",
                    ]
            continue
        lines.append(f"[{section}]")
        for key, value in values.items():
            if value is not None:
                lines.append(f"{key} = {json.dumps(value, ensure_ascii=False)}")
            elif key in chosen:
                lines.append(f"# {key} = {json.dumps(chosen[key])}  (chosen for the data)")
        lines.append("")
    return "\n".join(lines).strip()
