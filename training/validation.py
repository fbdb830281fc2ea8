"""Validation during training: NDCG@10 on the validation queries, over the whole catalogue without the history."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from torch import Tensor

from recsys import metrics
from recsys.data import Dataset, Int32, Int64, Jagged, QueryPart, encode_lists, lookup_rows
from recsys.errors import InputError
from recsys.model import TwoTower, encode_catalogue, encode_histories

from .batches import Loader

logger = logging.getLogger(__name__)

Bool = npt.NDArray[np.bool_]

K = 10
MAX_QUERIES = 10_000  # a larger sample changes NDCG@10 in the third digit at most
MIN_QUERIES = 1_000  # of a sample
MAX_TEST_QUERIES = 1_000_000  # all of whose answers, by every method, are in memory together: 2 to 3 GB
MAX_PAIRS = 20_000_000_000  # of a query and an item: a minute or two on two cores
FEWEST_UNSEEN_QUERIES, FEWEST_UNSEEN_ITEMS = 20, 10
ITEMS_AT_ONCE = 1 << 16
SCORES_AT_ONCE = 1 << 25  # 128 MiB of float32


@dataclass(frozen=True)
class ValidationSet:
    """Queries: histories and targets in catalogue positions, and [Q] int64 rows of the users' metadata."""

    history: Jagged
    targets: Jagged
    user_rows: Int64


def validation_set(dataset: Dataset, *, seed: int) -> ValidationSet:
    """The validation queries, or a sample of MAX_QUERIES of them; of fewer in a catalogue of millions.

    Raises InputError if the split left none.
    """
    if not dataset.num_queries("validation"):
        raise InputError("the split left no validation query; expected users with more events, or another split")
    rows = np.arange(dataset.num_queries("validation"))
    if dataset.config.compares_texts:
        rows = rows[wants_unseen(dataset.targets("validation"), dataset.item_counts)]
    queries = dataset.queries("validation", sampled(rows, min(MAX_QUERIES, _affordable(dataset)), seed=seed))
    users = lookup_rows(queries.get_column("user_id"), dataset.users().get_column("user_id"), offset=1)
    return ValidationSet(
        encode_lists(dataset.encoder, queries.get_column("history")),
        encode_lists(dataset.encoder, queries.get_column("targets")),
        users.astype(np.int64),
    )


def wants_unseen(targets: Jagged, item_counts: Int64) -> Bool:
    """[Q] bool: queries all of whose targets training has not seen; all queries, if these are too few to tell.

    A model of texts learns the texts that it is trained on by heart. What is to be validated is how it finds others.

    item_counts: [num_items + 1] training events by catalogue position.
    """
    wants = targets.count(item_counts[targets.values] > 0) == 0
    num_items = len(np.unique(targets.values[np.repeat(wants, targets.lengths)]))
    enough = wants.sum() >= FEWEST_UNSEEN_QUERIES and num_items >= FEWEST_UNSEEN_ITEMS
    return wants if enough else np.ones(len(targets), bool)


def best_setting(gains: Mapping[float, metrics.Float64], targets: Jagged, *, errors: float) -> float:
    """The best of some settings; the first one where none is ahead of it by some standard errors of the difference.

    Queries for the same item rise and fall together, so they count as one.

    Args:
        gains: By setting, [Q] the NDCG@10 of every query.
        targets: Of the queries, at least one each.
        errors: How many standard errors. One is usual where the first setting is the simplest (Breiman et al. 1984,
            Classification and Regression Trees, section 3.4.3).
    """
    _, item_Q = np.unique(targets.values[targets.offsets[:-1]], return_inverse=True)
    num_queries = np.bincount(item_Q)
    first, *_ = gains
    best = max(gains, key=lambda setting: float(gains[setting].mean()))
    ahead = np.bincount(item_Q, gains[best] - gains[first]) / num_queries
    return best if ahead.mean() > errors * ahead.std() / np.sqrt(len(ahead)) else first


def queries_to_evaluate(dataset: Dataset, *, seed: int) -> pl.DataFrame:
    """The test queries (user_id, history, targets), or a sample of them in a catalogue of millions."""
    affordable, num_queries = min(MAX_TEST_QUERIES, _affordable(dataset)), dataset.num_queries("test")
    if num_queries > affordable:
        logger.info("evaluating a sample of %s of the %s test queries", f"{affordable:,}", f"{num_queries:,}")
    return dataset.queries("test", sampled(np.arange(num_queries), affordable, seed=seed))


def sampled(rows: Int64, size: int, *, seed: int) -> Int64:
    """At most ``size`` of the rows, drawn at random."""
    return pl.Series(rows).sample(size, seed=seed).to_numpy() if len(rows) > size else rows


def _affordable(dataset: Dataset) -> int:
    """How many queries are compared with the whole catalogue."""
    return max(MIN_QUERIES, MAX_PAIRS // dataset.encoder.num_items)


def require_answerable(dataset: Dataset) -> None:
    """Raise InputError, before anything is trained, if validation or test could only measure zero.

    A target that is not in the catalogue cannot be found. If no query has any other, every model scores 0.
    """
    parts: tuple[QueryPart, ...] = ("validation", "test")
    for part in parts:
        if not dataset.targets(part).values.any():
            raise InputError(
                f"no target of the {dataset.num_queries(part):,} {part} queries is in the catalogue, so any model "
                "would score 0; expected some that are: give them rows in data.items, set data.catalogue = "
                '"events", or split differently'
            )


@torch.no_grad()
def rank(users_QD: Tensor, items_ND: Tensor, histories: Jagged, k: int) -> Int32:
    """[Q, k] catalogue positions by descending score, without the history; 0 where no item is left.

    items_ND: vectors by catalogue position, of which row 0 is nobody's.
    """
    best = nothing_yet(users_QD)
    for first in range(0, len(items_ND), ITEMS_AT_ONCE):
        best = best_of(best, best_among(users_QD, items_ND[first : first + ITEMS_AT_ONCE], first, histories, k), k)
    return ranking(best, k)


Best = tuple[Tensor, Tensor]  # [Q, up to k] scores, descending, and [Q, up to k] int64 catalogue positions


def nothing_yet(users_QD: Tensor) -> Best:
    """What is best among no items."""
    return users_QD.new_empty(len(users_QD), 0), torch.empty(
        len(users_QD), 0, dtype=torch.int64, device=users_QD.device
    )


@torch.no_grad()
def best_among(users_QD: Tensor, items_ND: Tensor, first: int, histories: Jagged, k: int) -> Best:
    """The items with the highest scores among those at the positions ``first``, ``first`` + 1 ..."""
    users_at_once = max(1, SCORES_AT_ONCE // max(1, len(items_ND)))
    parts = [nothing_yet(users_QD[:0])]
    for start in range(0, len(users_QD), users_at_once):
        seen = histories.take(np.arange(start, min(start + users_at_once, len(users_QD))))
        seen_rows, seen_items = torch.from_numpy(seen.row_of_value), torch.from_numpy(seen.values).long()
        scores = users_QD[start : start + users_at_once] @ items_ND.T
        is_inside = (seen_items >= first) & (seen_items < first + len(items_ND))
        scores[seen_rows[is_inside].to(scores.device), (seen_items[is_inside] - first).to(scores.device)] = -torch.inf
        if not first:
            scores[:, 0] = -torch.inf
        top = scores.topk(min(k, scores.shape[1]))
        parts.append((top.values, top.indices + first))
    width = parts[-1][0].shape[1]
    scores_QK, positions_QK = (
        torch.cat([part.reshape(-1, width) for part in side]) for side in zip(*parts, strict=True)
    )
    return scores_QK, positions_QK


def best_of(first: Best, second: Best, k: int) -> Best:
    """The k highest scores of two lists for each query, and their positions."""
    scores, positions = (torch.cat(pair, dim=1) for pair in zip(first, second, strict=True))
    top = scores.topk(min(k, scores.shape[1]))
    return top.values, positions.gather(1, top.indices)


def ranking(best: Best, k: int) -> Int32:
    """[Q, k] catalogue positions; 0 where no item is left."""
    positions = best[1].masked_fill(best[0] == -torch.inf, 0).int().cpu().numpy()
    return np.pad(positions, ((0, 0), (0, k - positions.shape[1])))


def score(model: TwoTower, queries: ValidationSet, loader: Loader, num_items: int, device: torch.device) -> float:
    """Mean NDCG@10 over the queries. The loader provides the metadata of items and users."""
    return float(ndcg_by_query(model, queries, loader, num_items, device).mean())


def ndcg_by_query(
    model: TwoTower, queries: ValidationSet, loader: Loader, num_items: int, device: torch.device
) -> metrics.Float64:
    """[Q] float64, the NDCG@10 of every query."""
    items = encode_catalogue(model, loader.item_features, num_items, device)
    users = encode_histories(model, items, queries.history, loader.user_features, queries.user_rows)
    return ndcg_of(rank(users, items, queries.history, K), queries)


def ndcg_of(positions_QK: Int32, queries: ValidationSet) -> metrics.Float64:
    """[Q] float64, the NDCG@10 of a ranking for every query."""
    return metrics.ndcg(metrics.hits(positions_QK, queries.targets), metrics.count_targets(queries.targets), K)
