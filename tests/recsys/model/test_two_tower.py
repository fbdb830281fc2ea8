"""Legend as in recsys/model/two_tower.py: M distinct items, B users, L history length, D embedding_dim."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from recsys.model.feature_tensors import FeatureTable
from recsys.model.two_tower import LOG_TEMPERATURES, TwoTower
from tests.small_models import (
    ENCODED_USERS,
    ITEMS,
    LENGTHS,
    NUM_ROWS,
    PLAIN,
    RICH,
    event_vectors,
    make,
    make_batch,
    of_member,
)


@pytest.mark.parametrize("similarity", ["dot", "cosine"])
@pytest.mark.parametrize("history", ["transformer", "pooling"])
@pytest.mark.parametrize(
    "base", [PLAIN, RICH, replace(RICH, num_members=2)], ids=["ids only", "all kinds of metadata", "two members"]
)
def test_every_parameter_receives_a_gradient(base, history, similarity):
    spec = replace(base, history_encoder=history, similarity=similarity, dropout=0.1)
    model = make(spec, torch.float32).train()
    items_MD, users_TD, temperature = model(make_batch(spec, torch.float32))
    assert items_MD.shape == (NUM_ROWS, spec.width)
    assert users_TD.shape == (int(LENGTHS.sum()), spec.width)
    target = torch.randn(NUM_ROWS, len(users_TD))
    ((items_MD @ users_TD.T / temperature).sigmoid() * target).sum().backward()
    weights = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    assert ("log_temperature" in weights) == spec.learn_temperature
    dead = [name for name, weight in weights.items() if weight.grad is None or not weight.grad.abs().max() > 0]
    assert dead == []
    if spec.item_transforms:
        for table in ("item_genre", "item_tags", "item_title", "user_genre", "user_tags", "user_title"):
            assert any(f".{table}." in name for name in weights)


def test_forward_returns_one_user_vector_per_token_in_order():
    model = make(RICH)
    batch = make_batch(RICH)
    _, users_TD, _ = model(batch)
    every_BLD = event_vectors(model, batch)
    by_hand = [every_BLD[b, event] for b in range(4) for event in range(LENGTHS[b])]
    torch.testing.assert_close(users_TD, torch.stack(by_hand), rtol=0, atol=1e-12)


@pytest.mark.parametrize("num_members", [1, 2])
def test_cosine_gives_unit_vectors(num_members):
    spec = replace(RICH, similarity="cosine", num_members=num_members)
    model = make(spec)
    items_MD, users_TD, _ = model(make_batch(spec))
    for vectors in (items_MD, users_TD):
        torch.testing.assert_close(vectors.norm(dim=1), torch.ones(len(vectors), dtype=torch.float64))
    plain, *_ = make(replace(spec, similarity="dot"))(make_batch(spec))
    unit = [torch.nn.functional.normalize(vectors, dim=1) for vectors in plain.chunk(num_members, dim=1)]
    torch.testing.assert_close(torch.cat(unit, dim=1) / num_members**0.5, items_MD)


@pytest.mark.parametrize("similarity", ["dot", "cosine"])
@pytest.mark.parametrize("history", ["transformer", "pooling"])
def test_the_score_of_an_ensemble_is_the_mean_of_its_members_scores(history, similarity):
    spec = replace(RICH, history_encoder=history, similarity=similarity, num_members=3)
    model, batch = make(spec), make_batch(spec)

    def scores(model):
        items_MV, users_TV, _ = model(batch)
        history_BLV = torch.nn.functional.embedding(batch.inputs, items_MV)
        last_BV = model.encode_users(history_BLV, batch.lengths, batch.user_features)
        return torch.cat([users_TV, last_BV]) @ items_MV.T

    alone = []
    for member in range(3):
        single = make(replace(spec, num_members=1))
        single.load_state_dict(of_member(model.state_dict(), member, 3))
        alone.append(scores(single))
    torch.testing.assert_close(scores(model), torch.stack(alone).mean(dim=0), rtol=0, atol=1e-12)
    assert (alone[0] - alone[1]).abs().max() > 0.01


@pytest.mark.parametrize("temperature", [0.001, 0.05, 1.0, 7.0])
def test_a_fixed_temperature_stays_as_configured(temperature):
    spec = replace(PLAIN, temperature=temperature)
    model = make(spec, torch.float32)
    assert model(make_batch(spec, torch.float32))[2].item() == pytest.approx(temperature)
    assert not model.log_temperature.requires_grad


@pytest.mark.parametrize(("start", "bound", "way_back"), [(0.0001, 0.01, -1.0), (50.0, 2.0, 1.0)])
def test_a_learned_temperature_stays_within_bounds_and_can_leave_them_inwards(start, bound, way_back):
    """Beyond a bound it is set to the bound, where it still has a gradient, so it is not stuck there."""
    spec = replace(PLAIN, temperature=start, learn_temperature=True)
    model = make(spec, torch.float32)
    temperature = model(make_batch(spec, torch.float32))[2]
    assert temperature.item() == pytest.approx(bound)
    (way_back * temperature).backward()
    with torch.no_grad():
        model.log_temperature -= 0.1 * model.log_temperature.grad.sign()
    temperature = model(make_batch(spec, torch.float32))[2].item()
    assert LOG_TEMPERATURES[0] < np.log(temperature) < LOG_TEMPERATURES[1]


def test_the_same_seed_gives_the_same_weights():
    weights = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        weights.append(TwoTower(RICH).state_dict())
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert any(not torch.equal(weights[0][name], weights[2][name]) for name in weights[0])


@pytest.mark.parametrize("history", ["transformer", "pooling"])
@pytest.mark.parametrize("num_members", [1, 2])
def test_a_training_step_has_the_same_bits_with_either_kind_of_table(history, num_members):
    spec = replace(
        RICH, history_encoder=history, num_members=num_members, dropout=0.1, id_dropout=0.2, user_dropout=0.1
    )
    plain, sharded = TwoTower(spec), TwoTower(spec, torchrec=True).to_empty(device="cpu")
    sharded.load_state_dict(plain.state_dict())
    after = []
    for model in (plain.train(), sharded.train()):
        torch.manual_seed(0)
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
        items_MV, users_TV, temperature = model(make_batch(spec, torch.float32))
        (items_MV @ users_TV.T / temperature).sigmoid().mean().backward()
        optimizer.step()
        after.append(model.state_dict())
    assert list(after[0]) == list(after[1])
    assert all(torch.equal(after[0][name], after[1][name]) for name in after[0])


SHARING = replace(RICH, user_transforms=RICH.item_transforms[:4], shared=("tags", "title", "year"), knows_profiles=True)


@pytest.mark.parametrize("history", ["transformer", "pooling", "none"])
def test_a_text_is_placed_alike_by_both_towers_and_trains_one_table(history):
    spec = replace(SHARING, history_encoder=history, similarity="cosine", num_layers=1)
    batch = make_batch(spec, torch.float32)
    users = FeatureTable.of_users(spec, ENCODED_USERS)
    user_rows, profiles = np.array([1, 0, 5, 2]), torch.tensor([0, 2, 2, 3])
    inputs = batch.inputs if history != "none" else batch.inputs[:, :0]
    length = inputs.shape[1]
    rows, columns = (inputs > 0).nonzero(as_tuple=True)
    tokens = torch.cat([rows * (length + 1) + columns, profiles * (length + 1) + length])
    batch = replace(
        batch, inputs=inputs, tokens=tokens,
        features=ITEMS.take_with(np.arange(NUM_ROWS), users, user_rows, distinct=False),
        user_features=users.own.take(user_rows), with_profiles=True,
    )  # fmt: skip
    model = make(spec, torch.float32).train()
    assert not any("user_title" in name or "user_tags" in name for name, _ in model.named_parameters())
    _, users_TD, _ = model(batch)
    assert users_TD.shape == ((int(LENGTHS.sum()) if history != "none" else 0) + 4, spec.width)
    users_TD.square().sum().backward()
    alone = model.eval().encode_profiles(users.take(user_rows))
    torch.testing.assert_close(users_TD[-4:], alone[profiles], rtol=0, atol=1e-6)
    only_shared = model.item_tower.metadata(users.take(user_rows).as_items) + model.user_tower.metadata(
        users.take(user_rows)
    )
    expected = model.join_members(model.user_tower.norm(model._by_member(only_shared).movedim(-2, 0)))
    torch.testing.assert_close(alone, expected, rtol=0, atol=1e-6)
    shallow = model.for_users_only()
    torch.testing.assert_close(shallow.encode_profiles(users.take(user_rows)), alone, rtol=0, atol=0)
    assert "item_tower.ids.embeddings.item.weight" not in dict(shallow.named_parameters())
