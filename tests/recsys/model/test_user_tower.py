from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch

from recsys.data.feature_kinds import fit_feature
from recsys.data.metadata import OWN_ID
from recsys.model.feature_tensors import FeatureTable
from tests.small_models import (
    LENGTHS,
    NO_FEATURES,
    NUM_ROWS,
    PLAIN,
    RICH,
    USERS,
    D,
    doubled,
    event_vectors,
    make,
    make_batch,
)


def test_a_later_event_changes_no_earlier_output():
    model = make(RICH)
    batch = make_batch(RICH)
    before = event_vectors(model, batch)
    for event in range(5):
        inputs = batch.inputs.clone()
        inputs[0, event] = inputs[0, event] % (NUM_ROWS - 1) + 1
        after = event_vectors(model, replace(batch, inputs=inputs))
        changed = (after - before).abs().amax(dim=-1) > 1e-12
        assert not changed[0, :event].any()
        assert changed[0, event:].all()  # and every later output does change
        assert not changed[1:].any()


def test_order_matters_to_the_transformer_and_not_to_pooling():
    for history, matters in (("transformer", True), ("pooling", False)):
        spec = replace(PLAIN, history_encoder=history)
        model = make(spec)
        vectors = torch.randn(1, 5, D, dtype=torch.float64)
        swapped = vectors[:, [1, 0, 2, 3, 4]]
        first, second = (model.encode_users(x, torch.tensor([5]), NO_FEATURES) for x in (vectors, swapped))
        assert ((first - second).abs().max() > 1e-6) == matters


@pytest.mark.parametrize("num_layers", [1, 3])
@pytest.mark.parametrize("similarity", ["dot", "cosine"])
def test_last_equals_forward_at_the_last_event(similarity, num_layers):
    spec = replace(RICH, similarity=similarity, num_layers=num_layers)
    model = make(spec)
    batch = make_batch(spec)
    history_BLD = model.encode_items(batch.rows, batch.features)[batch.inputs]
    last_BD = model.encode_users(history_BLD, batch.lengths, batch.user_features)
    every_BLD = event_vectors(model, batch)
    torch.testing.assert_close(last_BD, every_BLD[torch.arange(4), LENGTHS - 1], rtol=0, atol=1e-12)


def test_pooling_leaves_the_target_out():
    spec = replace(PLAIN, history_encoder="pooling")
    model = make(spec)
    history_BLD = torch.randn(4, 5, D, dtype=torch.float64)
    users_BLD = model.user_tower(history_BLD[None], LENGTHS, NO_FEATURES)[0]
    for b, length in enumerate(LENGTHS.tolist()):
        for event in range(length):
            rest = [history_BLD[b, other] for other in range(length) if other != event]
            mean = torch.stack(rest).mean(dim=0) if rest else torch.zeros(D, dtype=torch.float64)
            torch.testing.assert_close(users_BLD[b, event], mean, rtol=1e-12, atol=1e-12)
    last = model.user_tower.last(history_BLD[None], LENGTHS, NO_FEATURES)[0]
    for b, length in enumerate(LENGTHS.tolist()):  # serving pools all events
        torch.testing.assert_close(last[b], history_BLD[b, :length].mean(dim=0), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("history", ["transformer", "pooling"])
def test_padding_changes_no_vector(history):
    spec = replace(PLAIN, history_encoder=history)
    model = make(spec)
    history_BLD = torch.randn(4, 5, D, dtype=torch.float64)
    present_BL = torch.arange(5) < LENGTHS[:, None]
    other_BLD = torch.where(present_BL.unsqueeze(-1), history_BLD, torch.full_like(history_BLD, 1e3))
    wider_BLD = torch.cat([other_BLD, torch.full((4, 3, D), -7.0, dtype=torch.float64)], dim=1)
    expected_BD = model.encode_users(history_BLD, LENGTHS, NO_FEATURES)
    expected_BLD = model.user_tower(history_BLD[None], LENGTHS, NO_FEATURES)[0]
    for changed_BLD in (other_BLD, wider_BLD):
        found_BD = model.encode_users(changed_BLD, LENGTHS, NO_FEATURES)
        torch.testing.assert_close(found_BD, expected_BD, rtol=0, atol=1e-12)
        found_BLD = model.user_tower(changed_BLD[None], LENGTHS, NO_FEATURES)[0, :, :5]
        torch.testing.assert_close(found_BLD[present_BL], expected_BLD[present_BL], rtol=0, atol=1e-12)


@pytest.mark.parametrize("similarity", ["dot", "cosine"])
@pytest.mark.parametrize("history", ["transformer", "pooling"])
def test_a_user_does_not_depend_on_the_rest_of_the_batch(history, similarity):
    spec = replace(RICH, history_encoder=history, similarity=similarity)
    model = make(spec)
    history_BLD = torch.randn(4, 5, D, dtype=torch.float64)
    together = model.encode_users(history_BLD, LENGTHS, doubled(USERS.take(np.array([1, 0, 5, 2]))))
    for b, user in enumerate([1, 0, 5, 2]):
        alone = history_BLD[b : b + 1, : LENGTHS[b]]
        user_1D = model.encode_users(alone, LENGTHS[b : b + 1], doubled(USERS.take(np.array([user]))))
        torch.testing.assert_close(user_1D[0], together[b], rtol=0, atol=1e-12)


def test_user_dropout_drops_features_and_keeps_the_history():
    spec = replace(RICH, history_encoder="pooling", user_dropout=0.5)
    history_BLD = torch.randn(400, 2, D, dtype=torch.float64)[:1].expand(400, -1, -1)
    lengths, features = torch.full((400,), 2), doubled(USERS.take(np.full(400, 3)))
    users_BD = make(spec).train().encode_users(history_BLD, lengths, features)
    bare = (users_BD - make(spec).user_tower.norm(history_BLD.mean(dim=1))).abs().amax(dim=1) < 1e-9
    assert 0.4 < bare.double().mean() < 0.6
    assert (users_BD[~bare] - users_BD[~bare][0]).abs().max() < 1e-9  # the features of the other users are whole


def test_an_own_vector_replaces_a_pooled_history():
    own = fit_feature(OWN_ID, pl.Series(OWN_ID.name, [["a"], ["b"]]))
    encoded = pl.DataFrame([own.encode(pl.Series(OWN_ID.name, [["a"], ["b"], ["new"]]))])
    features = FeatureTable.from_frame((own,), encoded).take(np.array([1, 2, 3, 0]))
    history_BLD, lengths = torch.randn(4, 2, D), torch.full((4,), 2)
    pooled = make(replace(PLAIN, history_encoder="pooling", own_vectors=True, user_transforms=(own,)), torch.float32)
    table = pooled.user_tower.metadata.tables.embedding_bags[f"user_{OWN_ID.name}"].weight
    torch.nn.init.normal_(pooled.user_tower.fold_in.weight)
    torch.nn.init.normal_(pooled.user_tower.fold_in.bias)
    users_BD = pooled.encode_users(history_BLD, lengths, features)
    fold_in, pooled_BD = pooled.user_tower.fold_in, torch.nn.functional.normalize(history_BLD.mean(dim=1), dim=1)
    torch.testing.assert_close(users_BD, torch.cat([table[1:3], pooled_BD[2:] @ fold_in.weight[0].T + fold_in.bias]))
    ordered = make(replace(PLAIN, user_transforms=(own,)), torch.float32)
    moved = ordered.encode_users(history_BLD, lengths, features) - ordered.encode_users(
        history_BLD.flip(1), lengths, features
    )
    assert moved.abs().amax(dim=1).min() > 0.01  # an ordered history still counts
