"""Evaluation of a bundle on frozen queries, through the shipped Retriever, beside baselines on the same queries.

Shape suffixes: Q queries, K ranks, N catalogue positions.
"""

import copy
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import polars as pl
import torch

from recsys import metrics
from recsys.bundle import Bundle
from recsys.data import Dataset, Int32, Int64, Jagged, encode_lists, lookup_rows
from recsys.errors import InputError
from recsys.model import MetadataEncoder, TwoTower
from recsys.retriever import Retriever

from .. import validation
from ..loader import Loader
from ..validation import ValidationSet
from . import baselines

K_VALUES = (10, 20, 100)
HEADLINE = "ndcg@10"
MODEL, POPULARITY, ITEM_KNN, EASE = "model", "popularity", "item_knn", "ease"
QUERIES_AT_ONCE = 10_000
FEW_QUERIES = 100  # fewer are read with care
SEED = 0
HALF_LIFE = 1.0  # events, of item-kNN on ordered data: its best on three data sets (docs/LOG.md)
EASE_HALF_LIFE = 3.0  # likewise
EASE_LIMIT = 15_000  # items: a dense matrix of them is inverted, some 40 s and 3 GB at that size


@dataclass(frozen=True)
class EvaluationSet:
    """Frozen queries in the bundle's positions. ranked: per method, [Q, max(K_VALUES)] int32."""

    user_ids: pl.Series
    history: Jagged
    targets: Jagged
    ranked: dict[str, Int32]


def rank_queries(retriever: Retriever, queries: pl.DataFrame, dataset: Dataset | None) -> EvaluationSet:
    """Answer all queries with the retriever and, given what it was trained on, with popularity, item-kNN and EASE.

    EASE stands aside for more than EASE_LIMIT items. Raises InputError where there is no query, or one without targets.
    """
    if not queries.height:
        raise InputError("there is no query to evaluate; expected rows of user_id, history and targets")
    encoder = retriever.bundle.encoder
    history, targets = (encode_lists(encoder, queries.get_column(name)) for name in ("history", "targets"))
    user_ids, k = queries.get_column("user_id"), max(K_VALUES)
    rows = retriever.user_rows(user_ids)
    ranked = {MODEL: np.concatenate([
        retriever.rank(history.take(part), rows[part], k=k).positions
        for part in np.array_split(np.arange(len(history)), -(-len(history) // QUERIES_AT_ONCE))
    ])}  # fmt: skip
    if dataset is not None:
        train = dataset.train()[1]
        ordered = dataset.config.data.time is not None
        counts = np.bincount(train.values[train.values > 0], minlength=encoder.num_items + 1)
        ranked[POPULARITY] = baselines.popularity(counts, history, k)
        half_life = HALF_LIFE if ordered else None
        ranked[ITEM_KNN] = baselines.item_knn(train, encoder.num_items, history, k, half_life=half_life)
        if encoder.num_items <= EASE_LIMIT:
            half_life = EASE_HALF_LIFE if ordered else None
            ranked[EASE] = baselines.ease(train, encoder.num_items, history, k, half_life=half_life)
    return EvaluationSet(user_ids, history, targets, ranked)


def per_query(evaluated: EvaluationSet) -> pl.DataFrame:
    """user_id and the headline metric of every method: what promotion compares."""
    columns = [pl.Series(name, values[HEADLINE]) for name, values in _all_values(evaluated).items()]
    return pl.DataFrame([evaluated.user_ids, *columns])


def _all_values(evaluated: EvaluationSet) -> dict[str, dict[str, metrics.Float64]]:
    return {name: _values(ranked, evaluated.targets) for name, ranked in evaluated.ranked.items()}


def _values(ranked_QK: Int32, targets: Jagged) -> dict[str, metrics.Float64]:
    """Per-query recall, NDCG and MRR at every cut-off."""
    hits_QK, wanted_Q = metrics.hits(ranked_QK, targets), metrics.count_targets(targets)
    values = {}
    for k in K_VALUES:
        values[f"recall@{k}"] = metrics.recall(hits_QK, wanted_Q, k)
        values[f"ndcg@{k}"] = metrics.ndcg(hits_QK, wanted_Q, k)
        values[f"mrr@{k}"] = metrics.mrr(hits_QK, k)
    return values


def summarise(evaluated: EvaluationSet, retriever: Retriever, dataset: Dataset | None) -> dict[str, Any]:
    """The evaluation record: figures with 95% bootstrap intervals over users, differences, slices; JSON-able."""
    counts, num_items = retriever.bundle.item_counts, retriever.bundle.encoder.num_items
    values = _all_values(evaluated)
    model = values[MODEL]
    differences = {
        name: asdict(metrics.paired_bootstrap(model[HEADLINE], values[name][HEADLINE], seed=SEED))
        for name in values
        if name != MODEL
    }
    figures = {
        name: {metric: asdict(metrics.bootstrap_mean(each, seed=SEED)) for metric, each in methods.items()}
        for name, methods in values.items()
    }
    spread = {
        name: {
            f"coverage@{k}": metrics.coverage(ranked, num_items, k) for k in K_VALUES
        } | {f"novelty@{k}": float(np.nanmean(metrics.novelty(ranked, counts, k))) for k in K_VALUES}
        | {"gini@10": metrics.exposure_gini(ranked, num_items, 10)}
        for name, ranked in evaluated.ranked.items()
    }  # fmt: skip
    return {
        "bundle_id": retriever.bundle_id,
        "num_queries": len(evaluated.history),
        "headline": HEADLINE,
        "methods": figures,
        "differences": differences,
        "spread": spread,
        "slices": [
            {"name": each.name, "num_queries": len(each.of(evaluated)[0])}
            | {
                name: asdict(metrics.bootstrap_mean(each.values(evaluated, name), seed=SEED))
                for name in evaluated.ranked
            }
            for each in slices_of(evaluated, retriever.bundle, dataset.train()[0] if dataset is not None else None)
        ],
    }


@dataclass(frozen=True)
class Slice:
    """Some of the queries, [Q] bool, and some of their targets, [T] bool over all targets one after another."""

    name: str
    queries: metrics.Bool
    targets: metrics.Bool

    def of(self, evaluated: EvaluationSet) -> tuple[Int64, Jagged]:
        """Rows of the queries that have a target in the slice, and those targets."""
        targets = evaluated.targets.keep(self.targets)
        rows = np.flatnonzero((targets.lengths > 0) & self.queries)
        return rows, targets.take(rows)

    def values(self, evaluated: EvaluationSet, method: str) -> metrics.Float64:
        """NDCG@10 of each query of the slice."""
        rows, targets = self.of(evaluated)
        return metrics.ndcg(metrics.hits(evaluated.ranked[method][rows], targets), metrics.count_targets(targets), 10)


def slices_of(evaluated: EvaluationSet, bundle: Bundle, trained_users: pl.Series | None) -> Iterator[Slice]:
    """Where a model may be good and elsewhere not, by the bundle's own counts; those without a query are left out.

    trained_users: ids of the users that were trained on, where that is known.
    """
    lengths, targets = evaluated.history.lengths, evaluated.targets.values
    low, high = np.quantile(lengths, [1 / 3, 2 / 3])
    counts = bundle.item_counts
    popular = np.argsort(-counts, kind="stable")
    share_before = np.empty(len(counts))
    share_before[popular] = (np.cumsum(counts[popular]) - counts[popular]) / max(1, counts.sum())
    cold = np.arange(len(counts)) > bundle.encoder.num_trained
    known = np.arange(len(counts)) > 0
    by_query = {
        f"short histories (up to {low:.0f})": lengths <= low,
        f"long histories (over {high:.0f})": lengths > high,
    }
    if trained_users is not None:
        by_query = {"new users": lookup_rows(evaluated.user_ids, trained_users) < 0} | by_query
    by_item = {
        "head items (half of the events)": (share_before < 0.5) & ~cold & known,
        "torso items (the next 30%)": (share_before >= 0.5) & (share_before < 0.8) & ~cold & known,
        "tail items (the last 20%)": (share_before >= 0.8) & ~cold & known,
        "cold items (no training event)": cold,
    }
    every = np.ones(len(lengths), bool), np.ones(len(targets), bool)
    found = [Slice(name, chosen, every[1]) for name, chosen in by_query.items()]
    found += [Slice(name, every[0], chosen[targets]) for name, chosen in by_item.items()]
    yield from (each for each in found if len(each.of(evaluated)[0]))


def user_vectors(retriever: Retriever, evaluated: EvaluationSet, count: int) -> tuple[np.ndarray[Any, Any], Int64]:
    """[count, D] float32 vectors of a sample of the queries, and each one's first target position."""
    rng = np.random.default_rng(SEED)
    chosen = np.sort(rng.permutation(len(evaluated.history))[:count])
    first = evaluated.targets.values[evaluated.targets.offsets[chosen]]
    vectors = retriever.encode(evaluated.history.take(chosen), retriever.user_rows(evaluated.user_ids.gather(chosen)))
    return vectors, first.astype(np.int64)


@torch.no_grad()
def item_parts(model: TwoTower, loader: Loader, queries: ValidationSet, num_items: int) -> dict[str, float]:
    """Validation NDCG@10 by whole item vectors ("both"), by "ids" alone and by "metadata" alone, with an unknown item's
    id for every one; empty for a model without item metadata. What one part alone is worth, trained as it is: a model
    trained without the other would lean on it more.
    """
    if not model.spec.item_transforms:
        return {}
    ids, metadata = copy.deepcopy(model), copy.deepcopy(model)
    ids.spec = replace(model.spec, item_transforms=())
    for of_ids, of_metadata in zip(ids.item_towers, metadata.item_towers, strict=True):
        of_ids.metadata = MetadataEncoder((), model.spec.embedding_dim, "item")
        table = of_metadata.ids.embeddings["item"].weight
        table.copy_(table[0].clone().expand_as(table))
    parts = {"both": model, "ids": ids, "metadata": metadata}
    return {
        name: validation.score(part, queries, loader, num_items, torch.device("cpu")) for name, part in parts.items()
    }
