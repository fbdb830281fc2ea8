"""report.html: one self-contained page that says whether a model is good, and shows why.

Shapes: Q queries, K ranks, N catalogue positions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

import numpy as np
import polars as pl

from recsys.data import Int64, encode_lists
from recsys.retriever import Retriever
from recsys.search import IndexSpec

from ..description import TrainingDescription
from ..evaluation import (
    BASELINES,
    FEW_QUERIES,
    K_VALUES,
    MODEL,
    SEED,
    EvaluationFigures,
    EvaluationRecord,
    Exposure,
    Geometry,
    ItemMap,
)
from ..learning_curve import Progress
from ..recipe import Recipe
from . import charts
from .charts import label
from .data_and_config import configuration, data_summary
from .diagnosis import Finding, diagnose, metric_name, signed, tone, verdict
from .html import card, escape, figure, note, page, paragraph, swatch, table, with_interval
from .map_and_users import examples, item_map, item_titles

SAMPLE = 2_000  # test queries behind the popularity bias
METHODS = (MODEL, *(baseline.name for baseline in reversed(BASELINES)))
Value = TypeVar("Value")


def render_report(records: Path, trained: TrainingDescription, retriever: Retriever, progress: Progress) -> str:
    """The page of a training as HTML text; same inputs, same text.

    records: the folder that ``publish.write_records`` wrote.
    """
    config, dataset, recipe = trained.config, trained.dataset, trained.recipe
    evaluation = EvaluationRecord.read(records)
    queries = pl.read_parquet(records / "queries_test.parquet")
    titles = item_titles(dataset.items(), config.data.title)
    sections = {
        "Diagnosis": diagnosis(diagnose(evaluation, progress, recipe)),
        "Is it better than simple methods?": comparison(evaluation, pl.read_parquet(records / "per_query.parquet")),
        "Where is it good, and where not?": slices(evaluation),
        "Training": training(progress, recipe),
        "Geometry of the space": geometry(evaluation.geometry, recipe.model.width)
        + item_map(ItemMap.read(records), dataset, titles, config),
        "Index": index(evaluation.index, dataset.encoder.num_items),
        "Popularity bias": popularity_bias(evaluation.exposure, retriever, queries),
        "A few users": examples(retriever, queries, titles),
        "Data": data_summary(dataset.manifest.statistics),
        "Configuration and versions": configuration(trained, retriever.bundle_id),
    }
    found = verdict(evaluation)
    banner = f'<p class="verdict {found.tone}"><b>{found.word}:</b> {escape(found.sentence)}</p>'
    subtitle = (
        f"Bundle <code>{retriever.bundle_id[:12]}</code> · {dataset.encoder.num_items:,} items · "
        f"{dataset.manifest.statistics.users:,} users · {dataset.item_counts.sum():,} training events"
    )
    footer = "Training report, written by recsys. The figures are in records/evaluation.json beside this page."
    return page(config.registry.name, subtitle, banner, cards(evaluation), sections, footer=footer)


def in_order(methods: Mapping[str, Value]) -> dict[str, Value]:
    """The methods, ours first: JSON sorted them by name."""
    return {name: methods[name] for name in METHODS if name in methods}


def cards(evaluation: EvaluationFigures) -> str:
    """The figures one asks for first."""
    headline, model = evaluation.headline, evaluation.methods[MODEL]
    score, exposure = model[headline], evaluation.exposure[MODEL]
    shown = [
        (f"{score.mean:.4f}", metric_name(headline), f"{score.low:.4f} to {score.high:.4f}"),
        *(
            (signed(each.mean / evaluation.headline_of(name).mean, "+.0%"), f"against {label(name)}",
             f"{metric_name(headline)} {signed(each.low)} to {signed(each.high)}", tone(each))
            for name, each in evaluation.differences.items() if evaluation.headline_of(name).mean
        ),
        (f"{model['recall@100'].mean:.1%}", "Recall@100", "held-out items among 100 candidates"),
        (f"{exposure.coverage_at_10:.1%}", "Coverage@10", "of the catalogue in someone's top 10"),
    ]  # fmt: skip
    return "".join(card(*each) for each in shown)


def comparison(evaluation: EvaluationFigures, per_query: pl.DataFrame) -> str:
    """The headline metric of every method, then all figures."""
    headline, methods = evaluation.headline, in_order(evaluation.methods)
    names = [headline, *(f"recall@{k}" for k in K_VALUES), *(f"ndcg@{k}" for k in K_VALUES[1:]), "mrr@10"]
    best = {name: max(figures[name].mean for figures in methods.values()) for name in names}
    rows = [
        [swatch(method), *(with_interval(figures[name], figures[name].mean == best[name]) for name in names)]
        for method, figures in methods.items()
    ]
    bars = charts.comparison({name: each[headline] for name, each in methods.items()}, metric_name(headline))
    duels = [duel(per_query, name, metric_name(headline)) for name in evaluation.differences]
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


def slices(evaluation: EvaluationFigures) -> str:
    """The headline metric of every method on each slice."""
    entries, methods = evaluation.slices, [*in_order(evaluation.methods)]
    rows = []
    for entry in entries:
        best = max(entry.methods[method].mean for method in methods)
        few = " <small>few: read with care</small>" if entry.num_queries < FEW_QUERIES else ""
        figures = [with_interval(entry.methods[name], 0 < best == entry.methods[name].mean) for name in methods]
        rows.append([escape(entry.name), f"{entry.num_queries:,}{few}", *figures])
    return (
        figure(charts.slices(entries, methods, "NDCG@10"))
        + table(["slice", "queries", *(label(name) for name in methods)], rows)
        + note("A slice of items counts only the targets among them; a slice of users only their queries.")
    )


def diagnosis(findings: Sequence[Finding]) -> str:
    """What a newcomer asks of a model, answered; then what to try."""
    marks = {"good": "✓", "unclear": "?", "bad": "✗"}
    rows = [
        [f'<span class="mark {each.tone}">{marks[each.tone]}</span>{escape(each.question)}', escape(each.answer)]
        for each in findings
    ]
    remedies = "".join(f"<li>{escape(each.remedy)}</li>" for each in findings if each.remedy)
    return table(["question", "answer"], rows, words=(0, 1)) + (
        f"<h3>What to try next</h3><ol>{remedies}</ol>"
        if remedies
        else paragraph("Nothing stands out: the next step is the promotion gate, then a trial with real users.")
    )


def training(progress: Progress, recipe: Recipe) -> str:
    """Curves by epoch and what they say."""
    history, best = progress.epochs, progress.best_epoch
    rows = [asdict(row) | {"speed": row.tokens / row.seconds} for row in history]
    limit = recipe.epochs
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
    refit = [
        f"What serves was trained once more, for {best} epochs, on training and validation events together, so the "
        "validation score above is not its own. The test events were in neither training.",
    ] if recipe.refit else []  # fmt: skip
    return f"<div class=three>{drawn}</div>" + paragraph(
        f"The weights of epoch {best} {'were the best' if refit else 'were kept'} (green), with validation NDCG@10 "
        f"{progress.best_score:.4f}; {stopped}.",
        f"{len(history)} epochs of {tokens / len(history):,.0f} tokens took {total / 60:.1f} minutes, validation not "
        f"counted: {tokens / total:,.0f} tokens/s.",
        *refit,
    )


def geometry(figures: Geometry, width: int) -> str:
    """Every figure of the space (training/evaluation/geometry.py) with what it means here."""
    alignment, hubness = figures.alignment, figures.hubness
    norms, popular, rank = figures.item_norm_mean, figures.norm_popularity_correlation, figures.effective_rank
    uniformity = {"item": figures.item_uniformity, "user": figures.user_uniformity}
    spread = ("crowded in one direction", "partly spread out", "well spread out")
    rows = [
        ["alignment", f"{alignment:.2f}", step(alignment, (0.8, 1.6), (
            "users point at what they choose next", "users lean towards what they choose next",
            "users hardly point at what they choose next")) + " (0: straight at it, 2: at right angles)"],
        *([f"uniformity of {side}s", signed(value, ".2f"), step(
            -value, (1.0, 2.5), spread) + " (0: all in one place, −4: all at right angles)"]
          for side, value in uniformity.items()),
        ["hubness", signed(hubness, ".2f"), step(hubness, (1.0, 3.0), (
            "no item crowds the lists", "some items are in many lists", "a few hubs fill many lists"
            )) + " (skewness of how many users' top 10 each item is in; 0: even)"],
        ["length of item vectors", f"{norms:.2f} ± {figures.item_norm_std:.2f}", "mean ± standard deviation"],
        ["length against popularity", signed(popular, "+.2f"), step(popular, (-0.3, 0.3), (
            "popular items have shorter vectors, which holds them back", "length hardly depends on popularity",
            "popular items have longer vectors, which helps them up")) + " (correlation with log training events)"],
        ["effective rank", f"{rank:.1f}", f"of {width} dimensions are really used by the items"],
    ]  # fmt: skip
    return table(["figure", "value", "reading"], rows, words=(0, 2))


def step(value: float, limits: tuple[float, float], words: tuple[str, str, str]) -> str:
    """The word for a value: below the limits, between them, or above."""
    return words[sum(value >= limit for limit in limits)]


def index(spec: IndexSpec, num_items: int) -> str:
    """What searches, and how much of the exact answer it finds."""
    if spec.kind == "exact":
        return paragraph(f"Exact search over all {num_items:,} items: every answer is the true top k (recall 1).")
    parameters = {
        name: value
        for name, value in asdict(spec).items()
        if value is not None and name not in ("kind", "recall", "target_recall")
    }
    rows = [[escape(name.replace("_", " ")), f"{value:,}"] for name, value in parameters.items()]
    assert spec.recall is not None
    assert spec.target_recall is not None
    reached = "reached" if spec.recall >= spec.target_recall else "NOT reached: choose index.kind = exact"
    return paragraph(
        f"Approximate search ({spec.kind.upper()}) over {num_items:,} items. Recall@100 against exact search, "
        f"measured on user vectors when the index was built: {spec.recall:.4f} (target {spec.target_recall}, "
        f"{reached})."
    ) + table(["parameter", "value"], rows, narrow=True)


def popularity_bias(exposure: Mapping[str, Exposure], retriever: Retriever, queries: pl.DataFrame) -> str:
    """How far each method leans on what is popular anyway."""
    rows = [
        [swatch(name), f"{figures.coverage_at_10:.1%}", f"{figures.coverage_at_100:.1%}",
         f"{figures.novelty_at_10:.2f} bits", f"{figures.gini_at_10:.3f}"]
        for name, figures in in_order(exposure).items()
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
            f"{top['held-out items']:.0%} of what users went on to choose, and "
            f"{top['recommended in the top 10']:.0%} of what the model recommends ({len(sample):,} test queries)."
        )
    )  # fmt: skip


def by_decile(amounts_N: Int64, counts_N: Int64) -> list[float]:
    """[10] shares of ``amounts`` by tenth of the items, the most popular first; position 0 is left out."""
    tenths = np.array_split(np.argsort(-counts_N[1:], kind="stable") + 1, 10)
    return [float(amounts_N[tenth].sum() / max(1, amounts_N[1:].sum())) for tenth in tenths]
