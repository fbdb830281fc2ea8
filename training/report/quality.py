"""How good the model is: the sections that set it beside its baselines, over all queries and on slices of them."""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import TypeVar

import numpy as np
import polars as pl

from ..evaluation import FEW_QUERIES, K_VALUES, MODEL, SLICES
from . import charts
from .charts import METHODS, label
from .diagnosis import metric_name
from .html import escape, figure, note, swatch, table, with_interval
from .inputs import ReportInputs

Figures = TypeVar("Figures")


def in_order(methods: Mapping[str, Figures]) -> dict[str, Figures]:
    """The methods in the order of METHODS, the model first; the record has them in order of name."""
    return {name: methods[name] for name in METHODS if name in methods}


def comparison(inputs: ReportInputs) -> str:
    """The headline metric of every method, the table of all metrics, and who is better query by query."""
    evaluation = inputs.evaluation
    evaluation.require()
    assert inputs.per_query is not None
    headline, methods = evaluation.headline, in_order(evaluation.methods)
    names = [headline, *(f"recall@{k}" for k in K_VALUES), *(f"ndcg@{k}" for k in K_VALUES[1:]), "mrr@10"]
    best = {name: max(figures[name].mean for figures in methods.values()) for name in names}
    rows = [
        [swatch(method), *(with_interval(figures[name], figures[name].mean == best[name]) for name in names)]
        for method, figures in methods.items()
    ]
    headlines = {name: figures[headline] for name, figures in methods.items()}
    metric = metric_name(headline)
    return (
        figure(partial(charts.comparison, headlines, metric))
        + table(["method", *map(metric_name, names)], rows)
        + note("Means over the queries, with 95% bootstrap intervals; the best in each column is bold. All methods "
               "answer the same queries over the full catalogue, without the items that a user has already seen.")
        + f"<h3>Query by query, by {metric}</h3>"
        + duels(inputs.per_query, in_order(evaluation.differences))
    )  # fmt: skip


def duels(per_query: pl.DataFrame, baselines: Iterable[str]) -> str:
    """For each baseline, the shares of the queries on which the model is better, equal and worse."""
    rows = []
    for name in baselines:
        gain = (per_query.get_column(MODEL) - per_query.get_column(name)).to_numpy()
        rows.append([swatch(name), *(f"{np.mean(outcome):.1%}" for outcome in (gain > 0, gain == 0, gain < 0))])
    return table(["against", "model better", "equal", "model worse"], rows, narrow=True)


def slices(inputs: ReportInputs) -> str:
    """NDCG@10 of every method on each slice."""
    inputs.evaluation.require(SLICES)
    entries, methods = inputs.evaluation.slices, [*in_order(inputs.evaluation.methods)]
    rows = []
    for entry in entries:
        best = max(entry.methods[name].mean for name in methods)
        few = " <small>few: read with care</small>" if entry.num_queries < FEW_QUERIES else ""
        figures = [
            with_interval(entry.methods[name], best > 0 and entry.methods[name].mean == best) for name in methods
        ]
        rows.append([escape(entry.name), f"{entry.num_queries:,}{few}", *figures])
    return (
        figure(partial(charts.slices, entries, methods, "NDCG@10"))
        + table(["slice", "queries", *map(label, methods)], rows)
        + note("A slice of items counts only the targets among those items; a slice of users counts only their "
               "queries.")
    )  # fmt: skip
