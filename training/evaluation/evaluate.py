"""Evaluation of a bundle on frozen queries, by the Retriever that serves, compared with baselines on the same queries.

Shape suffixes: Q queries, K ranks, N catalogue positions.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from torch import nn

from recsys import metrics, progress
from recsys.bundle import Bundle
from recsys.data import Dataset, Int32, Int64, Jagged, encode_lists
from recsys.errors import InputError
from recsys.model import MetadataEncoder, TwoTower
from recsys.retriever import Retriever

from .. import validation
from ..batches import Loader
from ..validation import ValidationSet
from .baselines import BASELINES, MODEL, SEED, RankingTask, histories_to_fit
from .evaluation_set import EvaluationSet
from .left_out import NOTHING, LeftOut
from .record import EXPOSURE, SLICES, EvaluationFigures, Exposure, ItemParts, SliceFigures
from .slices import Slice, slices_of

K_VALUES = (10, 20, 100)
HEADLINE = "ndcg@10"
QUERIES_AT_ONCE = 10_000
FEW_QUERIES = 100  # figures of fewer are uncertain, and the report says so


@dataclass(frozen=True)
class QueryBlock:
    """Some queries. history: [b] rows of catalogue positions. user_rows: [b], as ``Retriever.user_rows`` gives them."""

    history: Jagged
    user_rows: Int64


RankBlocks = Callable[[Retriever, Sequence[QueryBlock]], Iterable[Int32]]  # rank_blocks, or the same elsewhere


def rank_block(retriever: Retriever, block: QueryBlock) -> Int32:
    """[b, K] int32: the best positions of every query of a block."""
    return retriever.rank(block.history, block.user_rows, k=max(K_VALUES)).positions


def rank_blocks(retriever: Retriever, blocks: Sequence[QueryBlock]) -> Iterable[Int32]:
    """Rank one block after the other."""
    return map(partial(rank_block, retriever), blocks)


def rank_queries(
    retriever: Retriever, queries: pl.DataFrame, dataset: Dataset | None, left_out: LeftOut = NOTHING,
    rank: RankBlocks = rank_blocks,
) -> EvaluationSet:  # fmt: skip
    """Answer all queries with the retriever and, given the dataset it was trained on, with the baselines.

    Args:
        retriever: the bundle to evaluate.
        queries: user_id, and history and targets as lists of raw item ids.
        dataset: what the bundle was trained on, or None to leave the baselines out.
        left_out: notes the baselines that fail.
        rank: what answers the queries with the retriever.

    Raises:
        InputError: there is no query, or its item ids are of another kind than the bundle's.
    """
    if not queries.height:
        raise InputError("there is no query to evaluate; expected rows of user_id, history and targets")
    retriever = retriever.limited(clock=None)  # what is available today was another then
    encoder = retriever.bundle.encoder
    history, targets = (encode_lists(encoder, queries.get_column(name)) for name in ("history", "targets"))
    user_ids, k = queries.get_column("user_id"), max(K_VALUES)
    user_rows = retriever.user_rows(user_ids)
    parts = np.array_split(np.arange(len(history)), -(-len(history) // QUERIES_AT_ONCE))
    blocks = [QueryBlock(history.take(rows), user_rows[rows]) for rows in parts]
    answered = progress.track(rank(retriever, blocks), "blocks of queries answered", len(blocks))
    ranked = {MODEL: np.concatenate(list(answered))}
    if dataset is not None:
        ordered = dataset.config.data.time is not None
        task = RankingTask(histories_to_fit(dataset), encoder.num_items, ordered, history, k)
        if isinstance(retriever.bundle, Bundle) and retriever.bundle.user_texts is not None:
            task = replace(task, lexical=retriever.bundle.lexical, texts=retriever.bundle.texts_of(user_rows))
        for baseline in BASELINES:
            if baseline.applies(task):
                answers = left_out.attempt(baseline.label, partial(baseline.rank, task))
                ranked |= {} if answers is None else {baseline.name: answers}
    return EvaluationSet(user_ids, history, targets, ranked)


def per_query(evaluated: EvaluationSet) -> pl.DataFrame:
    """A table of user_id and the headline metric by method, a row per query: what promotion compares."""
    columns = [pl.Series(name, values[HEADLINE]) for name, values in _all_values(evaluated).items()]
    return pl.DataFrame([evaluated.user_ids, *columns])


def _all_values(evaluated: EvaluationSet) -> dict[str, dict[str, metrics.Float64]]:
    return {name: _values(ranked, evaluated.targets) for name, ranked in evaluated.ranked.items()}


def _values(ranked_QK: Int32, targets: Jagged) -> dict[str, metrics.Float64]:
    """Recall, NDCG and MRR of every query at every cut-off."""
    hits_QK, wanted_Q = metrics.hits(ranked_QK, targets), metrics.count_targets(targets)
    values = {}
    for k in K_VALUES:
        values[f"recall@{k}"] = metrics.recall(hits_QK, wanted_Q, k)
        values[f"ndcg@{k}"] = metrics.ndcg(hits_QK, wanted_Q, k)
        values[f"mrr@{k}"] = metrics.mrr(hits_QK, k)
    return values


def summarise(
    evaluated: EvaluationSet, retriever: Retriever, dataset: Dataset | None, left_out: LeftOut = NOTHING
) -> EvaluationFigures:
    """Figures with 95% bootstrap intervals over users: every method, its difference to the model, and slices.

    Args:
        evaluated: the queries, ranked by every method.
        retriever: the bundle that was evaluated.
        dataset: what it was trained on; without it, new users can't be recognised and are no slice.
        left_out: notes the slices or the exposure if they fail.
    """
    counts, num_items = retriever.bundle.item_counts, retriever.bundle.encoder.num_items
    values = _all_values(evaluated)
    trained_users = dataset.train()[0] if dataset is not None else None

    def slices() -> tuple[SliceFigures, ...]:
        return tuple(_figures(part, evaluated) for part in slices_of(evaluated, retriever.bundle, trained_users))

    def exposure() -> dict[str, Exposure]:
        return {method: _exposure(ranked, counts, num_items) for method, ranked in evaluated.ranked.items()}

    return EvaluationFigures(
        bundle_id=retriever.bundle_id,
        num_queries=len(evaluated.history),
        headline=HEADLINE,
        methods={
            method: {metric: metrics.bootstrap_mean(value, seed=SEED) for metric, value in figures.items()}
            for method, figures in values.items()
        },
        differences={
            method: metrics.paired_bootstrap(values[MODEL][HEADLINE], figures[HEADLINE], seed=SEED)
            for method, figures in values.items()
            if method != MODEL
        },
        exposure=left_out.attempt(EXPOSURE, exposure) or {},
        slices=left_out.attempt(SLICES, slices) or (),
    )


def _exposure(ranked_QK: Int32, item_counts_N: Int64, num_items: int) -> Exposure:
    figures = {"gini@10": metrics.exposure_gini(ranked_QK, num_items, 10)}
    for k in K_VALUES:
        figures[f"coverage@{k}"] = metrics.coverage(ranked_QK, num_items, k)
        figures[f"novelty@{k}"] = float(np.nanmean(metrics.novelty(ranked_QK, item_counts_N, k)))
    return Exposure.model_validate(figures)


def _figures(part: Slice, evaluated: EvaluationSet) -> SliceFigures:
    methods = {method: metrics.bootstrap_mean(part.values(evaluated, method), seed=SEED) for method in evaluated.ranked}
    return SliceFigures(name=part.name, num_queries=part.num_queries(evaluated), methods=methods)


def user_vectors(retriever: Retriever, evaluated: EvaluationSet, count: int) -> tuple[npt.NDArray[np.float32], Int64]:
    """User vectors of a sample of the queries, [count, D] float32, and the position of the first target of each."""
    sample = np.sort(np.random.default_rng(SEED).permutation(len(evaluated.history))[:count])
    first = evaluated.targets.values[evaluated.targets.offsets[sample]]
    vectors = retriever.encode(evaluated.history.take(sample), retriever.user_rows(evaluated.user_ids.gather(sample)))
    return vectors, first.astype(np.int64)


@torch.no_grad()
def item_parts(model: TwoTower, loader: Loader, queries: ValidationSet, num_items: int) -> ItemParts | None:
    """What ids and metadata contribute to the item vectors: validation NDCG@10 with both, and with one part alone.

    "Ids alone" drops the metadata; "metadata alone" gives every item the id vector of an unknown item. The parts are
    measured as trained together: a model trained without the other part would rely on its own more.

    Returns:
        None for a model without item metadata, or whose users are encoded by it, too.
    """
    if not model.spec.item_transforms or model.spec.shared:
        return None
    tower, table = model.item_tower, model.item_tower.ids.embeddings["item"]

    def score() -> float:
        return validation.score(model, queries, loader, num_items, torch.device("cpu"))

    both, spec, encoder, weight = score(), model.spec, tower.metadata, table.weight
    try:  # on the model itself, for a large table has no second copy
        model.spec, tower.metadata = replace(spec, item_transforms=()), MetadataEncoder((), spec.width, "item")
        ids = score()
        model.spec, tower.metadata = spec, encoder
        table.weight = nn.Parameter(weight[:1].expand_as(weight), requires_grad=False)
        metadata = score()
    finally:
        model.spec, tower.metadata, table.weight = spec, encoder, weight
    return ItemParts(both=both, ids=ids, metadata=metadata)
