"""Vectors from a model: the item matrix of a catalogue, and user vectors from histories.

Shape suffixes: M items of a chunk, U distinct ones, K neighbours, V the width of a vector, Q users, D embedding_dim.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from ..data import Int64, Jagged
from ..search import ItemIndex
from .feature_tensors import FeatureTable
from .two_tower import Borrowed, TwoTower

ITEMS_AT_ONCE = 1 << 16
PLACES_AT_ONCE = 1 << 15
NEIGHBOURS = 10  # of a cold item: 5 to 15 are as good on amazon-beauty


@torch.no_grad()
def encode_catalogue(model: TwoTower, features: FeatureTable, num_items: int, device: torch.device) -> Tensor:
    """[num_items + 1, V] float32 by catalogue position: row 0 is zero.

    A cold item, which has no id of its own, is placed by its metadata and by the ids of the trained items that are
    nearest to it by metadata: what people do with an item is not all in its description (docs/LOG.md).
    """
    num_rows, parts = model.spec.num_rows, []
    for positions in _chunks(0, num_rows, ITEMS_AT_ONCE):
        rows = torch.from_numpy(positions).to(device)
        parts.append(model.encode_items(rows, features.take(positions).to(device)))
    cold = _chunks(num_rows, num_items + 1, max(1, ITEMS_AT_ONCE // NEIGHBOURS))
    if cold and model.spec.item_transforms:
        known = _chunks(0, num_rows, ITEMS_AT_ONCE)
        metadata = [model.encode_metadata(features.take(positions).to(device)) for positions in known]
        like = ItemIndex.build(torch.cat(metadata).float().cpu().numpy(), kind="exact")
    for positions in cold:
        rows, given = torch.zeros(len(positions), dtype=torch.int64, device=device), features.take(positions).to(device)
        borrowed = _borrowed(model.encode_metadata(given), like) if model.spec.item_transforms else None
        parts.append(model.encode_items(rows, given, borrowed))
    vectors = torch.cat(parts).float()
    vectors[0] = 0.0
    return vectors


def _borrowed(metadata_MV: Tensor, like: ItemIndex) -> Borrowed:
    """The nearest trained items by unit metadata vectors, each with a share of the cosine as its weight.

    So an item like no other borrows little, and one without metadata nothing.
    """
    distinct_UV, place_M = np.unique(metadata_MV.float().cpu().numpy(), axis=0, return_inverse=True)
    rows_UK, cosine_UK = like.search(distinct_UV, NEIGHBOURS)
    rows, weights = rows_UK[place_M].astype(np.int64), np.maximum(cosine_UK[place_M], 0) / NEIGHBOURS
    return Borrowed(*(torch.from_numpy(each).to(metadata_MV.device) for each in (rows, weights)))


def _chunks(start: int, end: int, size: int) -> list[Int64]:
    return [np.arange(first, min(first + size, end)) for first in range(start, end, size)]


@torch.no_grad()
def encode_histories(
    model: TwoTower, items: Tensor, history: Jagged, user_features: FeatureTable, user_rows: Int64
) -> Tensor:
    """[Q, V] user vectors, computed in batches of like length; a user without a known item has the zero vector.

    history: Jagged [Q] of catalogue positions; unknown items (0) are left out, max_history of the rest count. items:
    [num_items + 1, V]. user_rows: [Q] rows of ``user_features``, 0 for an unknown user. The vectors are of the model's
    dtype.
    """
    history = history.keep(history.values > 0).tail(model.spec.max_history)
    lengths = history.lengths
    dtype = model.log_temperature.dtype
    out = items.new_zeros(len(history), items.shape[1], dtype=dtype)
    for queries in _of_like_length(lengths):
        part = history.take(queries)
        inputs = part.padded().astype(np.int64)
        features = user_features.take(user_rows[queries]).to(items.device)
        histories = items[torch.from_numpy(inputs).to(items.device)].to(dtype)
        encoded = model.encode_users(histories, torch.from_numpy(part.lengths).to(items.device), features)
        out[torch.from_numpy(queries).to(items.device)] = encoded
    return out


def _of_like_length(lengths_Q: Int64) -> Iterator[Int64]:
    """Queries with a history, long ones first, in parts of at most PLACES_AT_ONCE padded places or of one query."""
    order = np.argsort(lengths_Q, kind="stable")[np.count_nonzero(lengths_Q == 0) :]
    end = len(order)
    while end:
        start = max(0, end - max(1, PLACES_AT_ONCE // int(lengths_Q[order[end - 1]])))
        yield order[start:end]
        end = start
