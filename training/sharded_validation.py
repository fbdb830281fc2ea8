"""Validation of a model whose tables are sharded: every process ranks its share of the catalogue, and none waits.

Every process looks up the same rows of histories and, in turn, its own share of the items: looking up needs all of
them at once. No process ever holds the vectors of the whole catalogue.

Shape suffixes: Q queries, U distinct items of their histories, K ranked items, V the width of a vector.
"""

import numpy as np
import torch
from torch import Tensor

from recsys.data import Int64, Jagged, distinct_rows
from recsys.model import TwoTower, encode_histories

from . import validation
from .batches import Loader
from .sharding import World
from .validation import ITEMS_AT_ONCE, K, ValidationSet


def score(
    model: TwoTower, queries: ValidationSet, loader: Loader, num_items: int, device: torch.device, world: World
) -> float:
    """Mean NDCG@10 over the queries, the same in all processes, which must call it together.

    Arguments are those of ``validation.score``. It differs from that one in this: a cold item borrows no id embeddings
    (recsys/model/encoding.py), but is placed by its metadata alone.
    """
    users_QV = _encode_users(model, queries, loader, device)
    share = -(-(num_items + 1) // world.size)
    start, end = world.rank * share, min((world.rank + 1) * share, num_items + 1)
    best = validation.nothing_yet(users_QV)
    for first in range(start, start + share, ITEMS_AT_ONCE):  # equally often in all processes
        positions_U = np.arange(first, max(first, min(first + ITEMS_AT_ONCE, end)))
        items_UV = _encode_items(model, positions_U, loader, device)
        if len(positions_U):
            best = validation.best_of(best, validation.best_among(users_QV, items_UV, first, queries.history, K), K)
    scores, positions = zip(*world.gather((best[0].cpu(), best[1].cpu())), strict=True)
    merged = validation.best_of(
        (torch.cat(scores, dim=1), torch.cat(positions, dim=1)), validation.nothing_yet(best[0].cpu()), K
    )
    return float(validation.ndcg_of(validation.ranking(merged, K), queries).mean())


def _encode_users(model: TwoTower, queries: ValidationSet, loader: Loader, device: torch.device) -> Tensor:
    """[Q, V], in all processes."""
    history = queries.history.keep(queries.history.values > 0).tail(model.spec.max_history)
    positions_U, index = distinct_rows(history.values)
    chunks = [positions_U[first : first + ITEMS_AT_ONCE] for first in range(0, len(positions_U), ITEMS_AT_ONCE)]
    items_UV = torch.cat(
        [_encode_items(model, np.zeros(1, np.int64), loader, device)[:1]]
        + [_encode_items(model, chunk, loader, device) for chunk in chunks]
    )
    return encode_histories(
        model, items_UV, Jagged(index + 1, history.offsets), loader.user_features, queries.user_rows
    )


@torch.no_grad()
def _encode_items(model: TwoTower, positions_U: Int64, loader: Loader, device: torch.device) -> Tensor:
    """[U, V]. A process that has no items left still looks one up, because others do."""
    asked_U = positions_U if len(positions_U) else np.zeros(1, np.int64)
    rows_U = torch.from_numpy(np.where(asked_U < model.spec.num_rows, asked_U, 0)).to(device)
    return model.encode_items(rows_U, loader.item_features.take(asked_U).to(device))[: len(positions_U)]
