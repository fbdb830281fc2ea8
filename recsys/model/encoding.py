"""Vectors from a model: the item matrix of a catalogue, and user vectors from histories.

Shape suffixes: V the width of a vector, S its width as it serves, Q users.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..data import Int64, Jagged
from ..search import to_device
from .feature_tensors import FeatureTable
from .model_spec import ModelSpec
from .trained_metadata import ITEMS_AT_ONCE, NEIGHBOURS, TrainedMetadata, encode_cold, metadata_of
from .two_tower import TwoTower

EVENTS_AT_ONCE = 1 << 15  # padding included
EVENTS_OF_A_THREAD = 1 << 10  # the same where users are served: in float64, more would not fit a core's cache
PROFILES_AT_ONCE = 1 << 12
EVENTS_ON_GPU = 1 << 17  # so that starting operations costs the host less than a microsecond a user


@dataclass(frozen=True)
class KnownVectors:
    """Vectors of a catalogue before it changed. vectors: [n + 1, V]. is_stale: [n + 1] bool, what to compute again."""

    vectors: npt.NDArray[np.float32]
    is_stale: npt.NDArray[np.bool_]


@torch.no_grad()
def encode_catalogue(
    model: TwoTower, features: FeatureTable, num_items: int, device: torch.device, known: KnownVectors | None = None
) -> Tensor:
    """The vectors of all items by catalogue position, [num_items + 1, S] float32; row 0 is zero.

    A cold item has no id embedding. Its vector comes from its metadata, and from the id embeddings of the trained items
    with the most similar metadata, since a description does not say everything about how people use an item
    (docs/LOG.md).

    Args:
        model: in evaluation mode.
        features: the items' features by catalogue position.
        num_items: trained and cold ones.
        device: the model's.
        known: vectors that are taken over; None: all are computed.
    """
    num_rows = model.spec.num_rows
    vectors = torch.zeros(num_items + 1, model.spec.served_width, device=device)  # in place: a large one fits only once
    stale = np.ones(num_items + 1, bool)
    if known is not None:
        stale[: len(known.vectors)] = known.is_stale
        vectors[: len(known.vectors)] = torch.from_numpy(known.vectors).to(device)
    for positions in _chunks(np.flatnonzero(stale[:num_rows]), ITEMS_AT_ONCE):
        rows = torch.from_numpy(positions).to(device)
        vectors[rows] = model.encode_items(rows, features.take(positions).to(device))
    cold = _chunks(num_rows + np.flatnonzero(stale[num_rows:]), max(1, ITEMS_AT_ONCE // NEIGHBOURS))
    borrows = bool(cold and model.spec.item_transforms and model.spec.id_dropout < 1)
    trained = TrainedMetadata.of(model, features, device) if borrows else None
    for positions in cold:
        chunk, rows = features.take(positions).to(device), torch.from_numpy(positions).to(device)
        near = None if trained is None else trained.nearest(metadata_of(model, chunk))
        vectors[rows] = encode_cold(model, chunk, len(positions), near)
    vectors[0] = 0.0
    return vectors


@torch.no_grad()
def metadata_vectors(model: TwoTower, features: FeatureTable, rows: Int64) -> npt.NDArray[np.float32]:
    """What the features of some rows add to an item's vector, scaled to length 1: [M, V], zero where there are none.

    model: in evaluation mode.
    """
    device = model.log_temperature.device
    vectors_MV = np.empty((len(rows), model.spec.width), np.float32)
    for start in range(0, len(rows), ITEMS_AT_ONCE):
        chunk = slice(start, start + ITEMS_AT_ONCE)
        vectors_MV[chunk] = model.encode_metadata(features.take(rows[chunk]).to(device)).float().cpu().numpy()
    return vectors_MV


def _chunks(positions: Int64, size: int) -> list[Int64]:
    return [positions[start : start + size] for start in range(0, len(positions), size)]


@torch.no_grad()
def encode_histories(
    model: TwoTower, items: Tensor, history: Jagged, user_features: FeatureTable, user_rows: Int64
) -> Tensor:
    """The users' vectors [Q, V], of the model's dtype; zero for a user of whom nothing is known.

    Without a known item, a user is encoded from columns alone, if the model was trained for it.

    Computed in batches of similar length.

    Args:
        model: in evaluation mode.
        items: [num_items + 1, V] item vectors by catalogue position.
        history: a row of catalogue positions per user, oldest first. Unknown items (0) are ignored; of the others the
            latest ``max_history`` count.
        user_features: the features of all users.
        user_rows: [Q] the users' rows in ``user_features``, 0 for an unknown user.
    """
    reads_history = model.spec.history_encoder != "none"
    history = history.keep((history.values > 0) & reads_history).tail(model.spec.max_history)
    lengths = history.lengths
    dtype = model.log_temperature.dtype
    vectors_QV = items.new_zeros(len(history), items.shape[1], dtype=dtype)
    for queries in by_length(lengths, _events_at_once(items.device, dtype)):
        batch = history.take(queries)
        positions_BL = to_device(items.device, batch.padded().astype(np.int64))
        features = user_features.take(user_rows[queries]).map(partial(to_device, items.device))
        lengths_B = to_device(items.device, batch.lengths)
        encoded_BV = model.encode_users(items[positions_BL].to(dtype), lengths_B, features)
        vectors_QV[to_device(items.device, queries)] = encoded_BV
    fill_in_profiles(model, vectors_QV, lengths, user_features, user_rows)
    return vectors_QV


def fill_in_profiles(
    model: TwoTower, vectors_QV: Tensor, lengths_Q: Int64, user_features: FeatureTable, user_rows: Int64
) -> None:
    """Write the vectors of users without a history, of whom columns are known."""
    has_profile_Q = known_profiles(model.spec, user_features, user_rows)
    for queries in _chunks(np.flatnonzero((lengths_Q == 0) & has_profile_Q), PROFILES_AT_ONCE):
        features = user_features.take(user_rows[queries]).map(partial(to_device, vectors_QV.device))
        vectors_QV[to_device(vectors_QV.device, queries)] = model.encode_profiles(features).to(vectors_QV.dtype)


def known_profiles(spec: ModelSpec, user_features: FeatureTable, user_rows: Int64) -> npt.NDArray[np.bool_]:
    """[Q] whether the model can encode a user by columns alone, and knows a value of them."""
    if not spec.knows_profiles or user_features.is_known is None:
        return np.zeros(len(user_rows), bool)
    is_known: npt.NDArray[np.bool_] = user_features.is_known[user_rows]
    return is_known


def _events_at_once(device: torch.device, dtype: torch.dtype) -> int:
    """How many events to encode at once: a float32's last bits depend on it, those of a rounded float64 do not."""
    if device.type != "cpu":
        return EVENTS_ON_GPU
    return EVENTS_AT_ONCE if dtype == torch.float32 else EVENTS_OF_A_THREAD * torch.get_num_threads()


def by_length(lengths_Q: Int64, max_events: int) -> Iterator[Int64]:
    """Batches of queries with a history, longest first: at most ``max_events`` after padding, or one query."""
    order = np.argsort(lengths_Q, kind="stable")[np.count_nonzero(lengths_Q == 0) :]
    end = len(order)
    while end:
        start = max(0, end - max(1, max_events // int(lengths_Q[order[end - 1]])))
        yield order[start:end]
        end = start
