"""What the vector space looks like: the sections on its geometry, on the search index and on popularity bias."""

from functools import partial

import numpy as np

from recsys.data import Int64, encode_lists
from recsys.plain_text import counted
from recsys.search import IndexSpec

from ..evaluation import EXPOSURE, MODEL, ONE_DIRECTION, SEED, Geometry, are_few, collapsed
from . import charts
from .diagnosis import HUBS, crowded, signed
from .html import drawn, escape, figure, note, paragraph, swatch, table, verdict_banner
from .inputs import ReportInputs
from .map_and_users import item_map
from .quality import in_order
from .two_sides import drawings

SAMPLE = 2_000  # test queries behind the popularity bias


def geometry(inputs: ReportInputs) -> str:
    """The figures of the space with their readings, both sides drawn, and the map of the items."""
    figures = inputs.evaluation.space
    inputs.evaluation.require(EXPOSURE)
    coverage = inputs.evaluation.exposure[MODEL].coverage_at_10
    return (
        readings(figures, inputs.num_dimensions, coverage)
        + drawings(inputs)
        + drawn(partial(item_map, inputs), "The map of the items")
    )


def readings(figures: Geometry, num_dimensions: int, coverage: float) -> str:
    """Every figure of the space (training/evaluation/geometry.py) with what it means here.

    Args:
        figures: The figures.
        num_dimensions: How many the items could use.
        coverage: The share of the items that are in someone's top 10.
    """
    collapse = collapsed(figures, num_dimensions)
    named = "" if collapse is None else verdict_banner("bad", "The space has collapsed", f"{collapse}.")
    alignment = step(figures.alignment, (0.8, 1.6), (
        "users point at what they choose next", "users lean towards what they choose next",
        "users hardly point at what they choose next"))  # fmt: skip
    hubs = (
        "no item crowds the lists" if figures.hubness <= HUBS
        else "a few items crowd the lists" if crowded(figures.hubness, coverage)
        else f"some items are in many lists, but {coverage:.0%} of all items are in some list"
    )  # fmt: skip
    popular = step(figures.norm_popularity_correlation, (-0.3, 0.3), (
        "popular items have shorter vectors, which lowers their scores", "length hardly depends on popularity",
        "popular items have longer vectors, which raises their scores"))  # fmt: skip
    rank = "too few" if are_few(figures.effective_rank, num_dimensions) else "enough"
    uniformity = {"items": figures.item_uniformity, "users": figures.user_uniformity}
    rows = [
        ["alignment", f"{figures.alignment:.2f}", f"{alignment} (0: straight at it, 2: at right angles)"],
        *([f"uniformity of {side}", signed(value, ".2f"),
           f"{spread(value)} (0: all in one place, −4: all at right angles)"] for side, value in uniformity.items()),
        *gap_row(figures),
        ["hubness", signed(figures.hubness, ".2f"),
         f"{hubs} (skewness of how many users' top 10 each item is in; 0: even)"],
        ["length of item vectors", f"{figures.item_norm_mean:.2f} ± {figures.item_norm_std:.2f}",
         "mean ± standard deviation"],
        ["length against popularity", signed(figures.norm_popularity_correlation, "+.2f"),
         f"{popular} (correlation with log training events)"],
        ["effective rank", f"{figures.effective_rank:.1f}", f"dimensions of {num_dimensions} in use: {rank}"],
    ]  # fmt: skip
    return named + table(["figure", "value", "reading"], rows, words=(0, 2))


def spread(uniformity: float) -> str:
    """How even the vectors of one side are."""
    if uniformity > ONE_DIRECTION:
        return "collapsed: all point nearly the same way"
    return step(-uniformity, (1.0, 2.5), ("crowded in one direction", "partly spread out", "well spread out"))


def gap_row(figures: Geometry) -> list[list[str]]:
    """The row of the gap; none where it was not measured."""
    if figures.gap is None:
        return []
    reading = step(figures.gap, (0.3, 0.8), (
        "users and items lie in one cloud", "two clouds that overlap", "two clouds apart from each other"))  # fmt: skip
    share = f"{figures.gap**2:.2f} of the alignment is the way between them"
    return [["gap between users and items", f"{figures.gap:.2f}", f"{reading}; {share} (0: one centre, 2: opposite)"]]


def step(value: float, limits: tuple[float, float], words: tuple[str, str, str]) -> str:
    """The word for a value: below the limits, between them, or above."""
    return words[sum(value >= limit for limit in limits)]


def index(inputs: ReportInputs) -> str:
    """What searches, and how much of the exact answer it finds."""
    spec = inputs.evaluation.index
    assert spec is not None
    return index_of(spec, inputs.dataset.encoder.num_items)


def index_of(spec: IndexSpec, num_items: int) -> str:
    """The section of an index."""
    if spec.is_exact or spec.recall is None or spec.target_recall is None:
        return paragraph(f"Exact search over {counted(num_items, 'item')}: every answer is the true top k (recall 1).")
    parameters = {
        "lists": spec.num_lists, "lists probed": spec.num_probes, "links per item": spec.m,
        "candidates when built": spec.ef_construction, "candidates when searched": spec.ef_search,
    }  # fmt: skip
    rows = [[escape(name), f"{value:,}"] for name, value in parameters.items() if value is not None]
    reached = "reached" if spec.recall >= spec.target_recall else "NOT reached: `--set index.kind=exact` is exact"
    return paragraph(
        f"Approximate search ({spec.kind.upper()}) over {num_items:,} items. Recall@100 against exact search, "
        f"measured on user vectors when the index was built: {spec.recall:.4f} (target {spec.target_recall}, "
        f"{reached})."
    ) + table(["parameter", "value"], rows, narrow=True)


def popularity_bias(inputs: ReportInputs) -> str:
    """How much each method prefers popular items."""
    inputs.evaluation.require(EXPOSURE)
    shares, num_queries = popularity_shares(inputs)
    queries = counted(num_queries, "test query", "test queries")
    first = {name: values[0] for name, values in shares.items()}
    rows = [
        [swatch(name), f"{figures.coverage_at_10:.1%}", f"{figures.coverage_at_100:.1%}",
         f"{figures.novelty_at_10:.2f} bits", f"{figures.gini_at_10:.3f}"]
        for name, figures in in_order(inputs.evaluation.exposure).items()
    ]  # fmt: skip
    return (
        figure(partial(charts.deciles, shares))
        + paragraph(
            f"The most popular tenth of the items makes up {first['training events']:.0%} of the training events, "
            f"{first['held-out items']:.0%} of what users chose next, and "
            f"{first['recommended in the top 10']:.0%} of what the model recommends ({queries})."
        )
        + table(["method", "coverage@10", "coverage@100", "novelty@10", "gini@10"], rows)
        + note("Coverage: the share of the catalogue that is shown to anyone. Novelty: how rare the shown items are in "
               "training. Gini: 0 if all items are shown equally often, 1 if only one is.")
    )  # fmt: skip


def popularity_shares(inputs: ReportInputs) -> tuple[dict[str, list[float]], int]:
    """What was trained on, chosen and recommended, by tenth of the items; and the number of queries behind it."""
    retriever, queries = inputs.retriever, inputs.queries
    drawn = np.sort(np.random.default_rng(SEED).permutation(queries.height)[:SAMPLE])
    sample, counts = queries[drawn], retriever.bundle.item_counts
    history, targets = (
        encode_lists(retriever.bundle.encoder, sample.get_column(name)) for name in ("history", "targets")
    )
    shown = retriever.rank(history, retriever.user_rows(sample.get_column("user_id")), k=10).positions
    amounts = {
        "training events": counts,
        "held-out items": np.bincount(targets.values, minlength=len(counts)),
        "recommended in the top 10": np.bincount(shown.ravel(), minlength=len(counts)),
    }
    return {name: by_decile(amount, counts) for name, amount in amounts.items()}, sample.height


def by_decile(amounts_N: Int64, counts_N: Int64) -> list[float]:
    """[10] shares of ``amounts`` by tenth of the items, by ``counts``, largest first; position 0 does not count."""
    tenths = np.array_split(np.argsort(-counts_N[1:], kind="stable") + 1, 10)
    return [float(amounts_N[tenth].sum() / max(1, amounts_N[1:].sum())) for tenth in tenths]
