"""Validation during training: NDCG@10 on the validation queries, over the whole catalogue without the history."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from recsys import metrics
from recsys.data import Dataset, Int32, Int64, Jagged, encode_lists, lookup_rows
from recsys.errors import InputError
from recsys.model import TwoTower, encode_catalogue, encode_histories

from .loader import Loader

K = 10
MAX_QUERIES = 10_000  # a larger sample changes NDCG@10 in the third digit at most
CHUNK_SCORES = 1 << 25  # scores held at once: 128 MiB of float32


@dataclass(frozen=True)
class ValidationSet:
    """Queries: histories and targets in catalogue positions, and [Q] int64 rows of the users' metadata."""

    history: Jagged
    targets: Jagged
    user_rows: Int64


def validation_set(dataset: Dataset, *, seed: int) -> ValidationSet:
    """The validation queries, or a sample of MAX_QUERIES of them.

    Raises InputError if the split left none.
    """
    queries = dataset.queries("validation")
    if not queries.height:
        raise InputError("the split left no validation query; expected users with more events, or another split")
    if queries.height > MAX_QUERIES:
        queries = queries.sample(MAX_QUERIES, seed=seed)
    users = lookup_rows(queries.get_column("user_id"), dataset.users().get_column("user_id"), offset=1)
    return ValidationSet(
        encode_lists(dataset.encoder, queries.get_column("history")),
        encode_lists(dataset.encoder, queries.get_column("targets")),
        users.astype(np.int64),
    )


def require_answerable(dataset: Dataset) -> None:
    """Raise InputError, before anything is trained, if validation or test could only measure zero.

    A target that is not in the catalogue cannot be found. If no query has any other, every model scores 0.
    """
    parts: tuple[Literal["validation", "test"], ...] = ("validation", "test")
    for part in parts:
        queries = dataset.queries(part)
        if not encode_lists(dataset.encoder, queries.get_column("targets")).values.any():
            raise InputError(
                f"no target of the {queries.height:,} {part} queries is in the catalogue, so any model would score 0; "
                'expected some that are: give them rows in data.items, set data.catalogue = "events", or split '
                "differently"
            )


@torch.no_grad()
def rank(users_QD: Tensor, items_ND: Tensor, histories: Jagged, k: int) -> Int32:
    """[Q, k] catalogue positions by descending score, without the history; 0 where no item is left.

    items_ND: vectors by catalogue position, of which row 0 is nobody's.
    """
    chunk = max(1, CHUNK_SCORES // len(items_ND))
    ranked = []
    for start in range(0, len(users_QD), chunk):
        scores = users_QD[start : start + chunk] @ items_ND.T
        seen = histories.take(np.arange(start, min(start + chunk, len(users_QD))))
        scores[torch.from_numpy(seen.row_of_value), torch.from_numpy(seen.values).long()] = -torch.inf
        scores[:, 0] = -torch.inf
        top = scores.topk(min(k, len(items_ND)))
        ranked.append(top.indices.masked_fill(top.values == -torch.inf, 0).int().cpu().numpy())
    return np.pad(np.concatenate(ranked), ((0, 0), (0, max(0, k - len(items_ND)))))


def score(model: TwoTower, queries: ValidationSet, loader: Loader, num_items: int, device: torch.device) -> float:
    """Mean NDCG@10 over the queries. The loader provides the metadata of items and users."""
    return float(ndcg_by_query(model, queries, loader, num_items, device).mean())


def ndcg_by_query(
    model: TwoTower, queries: ValidationSet, loader: Loader, num_items: int, device: torch.device
) -> metrics.Float64:
    """[Q] float64, the NDCG@10 of every query."""
    items = encode_catalogue(model, loader.item_features, num_items, device)
    users = encode_histories(model, items, queries.history, loader.user_features, queries.user_rows)
    hits = metrics.hits(rank(users, items, queries.history, K), queries.targets)
    return metrics.ndcg(hits, metrics.count_targets(queries.targets), K)
