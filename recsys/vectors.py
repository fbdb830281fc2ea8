"""Vectors from a model: the item matrix of a catalogue, and user vectors from histories.

Shape suffixes: Q users, D embedding_dim.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from .batch import FeatureTable
from .codes import Int64
from .history import Jagged
from .model import TwoTower

ITEMS_AT_ONCE = 1 << 16
PLACES_AT_ONCE = 1 << 15


@torch.no_grad()
def encode_catalogue(model: TwoTower, features: FeatureTable, num_items: int, device: torch.device) -> Tensor:
    """[num_items + 1, D] float32 by catalogue position: row 0 is zero, cold items are placed by their metadata."""
    num_rows, parts = model.spec.num_rows, []
    for start in range(0, num_items + 1, ITEMS_AT_ONCE):
        positions = np.arange(start, min(start + ITEMS_AT_ONCE, num_items + 1))
        rows = torch.from_numpy(np.where(positions < num_rows, positions, 0))
        parts.append(model.encode_items(rows.to(device), features.take(positions).to(device)).float())
    vectors = torch.cat(parts)
    vectors[0] = 0.0
    return vectors


@torch.no_grad()
def encode_histories(
    model: TwoTower, items: Tensor, history: Jagged, user_features: FeatureTable, user_rows: Int64
) -> Tensor:
    """[Q, D] user vectors, computed in batches of like length; a user without a known item has the zero vector.

    history: Jagged [Q] of catalogue positions; unknown items (0) are left out, max_history of the rest count. items:
    [num_items + 1, D], whose dtype is the vectors'. user_rows: [Q] rows of ``user_features``, 0 for an unknown user.
    """
    history = history.keep(history.values > 0).tail(model.spec.max_history)
    lengths = history.lengths
    out = items.new_zeros(len(history), items.shape[1])
    for queries in _of_like_length(lengths):
        part = history.take(queries)
        present = np.arange(part.lengths.max()) < part.lengths[:, None]
        inputs = np.zeros(present.shape, np.int64)
        inputs[present] = part.values
        features = user_features.take(user_rows[queries]).to(items.device)
        histories = items[torch.from_numpy(inputs).to(items.device)]
        encoded = model.encode_users(histories, torch.from_numpy(part.lengths).to(items.device), features)
        out[torch.from_numpy(queries).to(items.device)] = encoded.to(out)
    return out


def _of_like_length(lengths_Q: Int64) -> Iterator[Int64]:
    """Queries with a history, long ones first, in parts of at most PLACES_AT_ONCE padded places or of one query."""
    order = np.argsort(lengths_Q, kind="stable")[np.count_nonzero(lengths_Q == 0) :]
    end = len(order)
    while end:
        start = max(0, end - max(1, PLACES_AT_ONCE // int(lengths_Q[order[end - 1]])))
        yield order[start:end]
        end = start
