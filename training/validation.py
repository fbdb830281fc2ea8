"""Validation during training: full-catalogue NDCG@10 on the held-out queries, histories excluded."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from recsys import metrics
from recsys.data import Dataset, Int32, Int64, Jagged, encode_lists, lookup_rows
from recsys.errors import InputError
from recsys.model import TwoTower, encode_catalogue, encode_histories

from .loader import Loader

K = 10
MAX_QUERIES = 10_000  # a sample of more changes the third digit at most
CHUNK_SCORES = 1 << 25


@dataclass(frozen=True)
class ValidationSet:
    """Queries in catalogue positions. user_rows: [Q] rows of the users' metadata."""

    history: Jagged
    targets: Jagged
    user_rows: Int64


def validation_set(dataset: Dataset, *, seed: int) -> ValidationSet:
    """The validation queries that have a history, MAX_QUERIES of them at most."""
    queries = dataset.queries("validation")
    if not queries.height:
        raise InputError("the split left no validation query: users need more events, or choose another split")
    if queries.height > MAX_QUERIES:
        queries = queries.sample(MAX_QUERIES, seed=seed)
    users = lookup_rows(queries.get_column("user_id"), dataset.users().get_column("user_id"), offset=1)
    return ValidationSet(
        encode_lists(dataset.encoder, queries.get_column("history")),
        encode_lists(dataset.encoder, queries.get_column("targets")),
        users.astype(np.int64),
    )


@torch.no_grad()
def rank(users_QD: Tensor, items: Tensor, history: Jagged, k: int) -> Int32:
    """[Q, k] catalogue positions by falling score, the history excluded; 0 where no item is left."""
    step = max(1, CHUNK_SCORES // len(items))
    ranked = []
    for start in range(0, len(users_QD), step):
        scores = users_QD[start : start + step] @ items.T
        rows = np.arange(start, min(start + step, len(users_QD)))
        seen = history.take(rows)
        scores[torch.from_numpy(seen.row_of_value), torch.from_numpy(seen.values).long()] = -torch.inf
        scores[:, 0] = -torch.inf
        best = scores.topk(min(k, len(items)))
        ranked.append(best.indices.masked_fill(best.values == -torch.inf, 0).int().cpu().numpy())
    return np.pad(np.concatenate(ranked), ((0, 0), (0, max(0, k - len(items)))))


def score(model: TwoTower, queries: ValidationSet, loader: Loader, num_items: int, device: torch.device) -> float:
    """Mean NDCG@10 over the queries; the loader holds the metadata."""
    return float(by_query(model, queries, loader, num_items, device).mean())


def by_query(
    model: TwoTower, queries: ValidationSet, loader: Loader, num_items: int, device: torch.device
) -> metrics.Float64:
    """[Q] float64: NDCG@10 of each query."""
    items = encode_catalogue(model, loader.item_features, num_items, device)
    users = encode_histories(model, items, queries.history, loader.user_features, queries.user_rows)
    hits = metrics.hits(rank(users, items, queries.history, K), queries.targets)
    return metrics.ndcg(hits, metrics.count_targets(queries.targets), K)
