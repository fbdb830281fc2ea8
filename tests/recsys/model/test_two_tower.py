"""Legend as in recsys/model/two_tower.py: M distinct items, B users, L history length, D embedding_dim."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch

from recsys.config import FeatureConfig
from recsys.data.feature_kinds import fit_feature
from recsys.data.metadata import OWN_ID
from recsys.model.feature_tensors import FeatureRows, FeatureTable
from recsys.model.model_spec import ModelSpec
from recsys.model.two_tower import LOG_TEMPERATURES, TrainBatch, TwoTower

D, NUM_ROWS = 8, 13
NO_FEATURES = FeatureRows(None, None)
LENGTHS = torch.tensor([5, 1, 3, 4])

KINDS = {"genre": "categorical", "tags": "multi_categorical", "year": "numeric", "title": "text", "vector": "vector"}


def metadata(count, kinds=KINDS, seed=0):
    """Transforms of every kind, and the encoded table of ``count`` rows."""
    rng = np.random.default_rng(seed)
    frame = pl.DataFrame(
        {
            "genre": [f"g{value}" for value in rng.integers(3, size=count)],
            "tags": [[f"t{value}" for value in rng.integers(4, size=rng.integers(0, 4))] for _ in range(count)],
            "year": rng.normal(size=count),
            "title": [f"title of {value}" for value in rng.integers(9, size=count)],
            "vector": rng.normal(size=(count, 3)).tolist(),
        },
        schema_overrides={"tags": pl.List(pl.String), "vector": pl.List(pl.Float32)},
    )
    transforms = tuple(fit_feature(FeatureConfig(name=name, kind=kind), frame[name]) for name, kind in kinds.items())
    encoded = pl.DataFrame([transform.encode(frame[transform.name]) for transform in transforms])
    return transforms, FeatureTable.from_frame(transforms, encoded)


ITEM_TRANSFORMS, ITEMS = metadata(NUM_ROWS + 4)
USER_TRANSFORMS, USERS = metadata(6, seed=1)
PLAIN = ModelSpec(
    num_rows=NUM_ROWS, item_transforms=(), user_transforms=(), embedding_dim=D, num_members=1, history="transformer",
    own_vectors=False, similarity="dot", num_layers=2, num_heads=2, max_history=6, dropout=0.0, id_dropout=0.0,
    user_dropout=0.0, temperature=0.5, learn_temperature=False,
)  # fmt: skip
RICH = replace(PLAIN, item_transforms=ITEM_TRANSFORMS, user_transforms=USER_TRANSFORMS, learn_temperature=True)


def make(spec, dtype=torch.float64):
    """A model whose weights are large enough that everything has an effect.

    Tables look ids up in float32 whatever the weights are: without metadata a whole step is float32 only.
    """
    torch.manual_seed(0)
    model = TwoTower(spec).to(dtype).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name != "log_temperature":
                weight.copy_(torch.randn_like(weight) * 0.5)
    return model


def test_names_of_columns_may_hold_dots():
    dotted, plain = (
        fit_feature(FeatureConfig(name=name, kind="categorical"), pl.Series(name, ["a"])) for name in ("x.y", "x_y")
    )
    spec = replace(PLAIN, item_transforms=(dotted, plain), user_transforms=(dotted,))
    model = make(spec)
    assert len({name for name in model.state_dict() if name.startswith("item_towers.0.metadata.tables")}) == 2
    make(spec).load_state_dict(model.state_dict())


def doubled(features, dtype=torch.float64):
    return FeatureRows(features.bags, None if features.dense is None else features.dense.to(dtype))


def make_batch(spec, dtype=torch.float64):
    rows = np.arange(NUM_ROWS)
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randint(1, len(rows), (len(LENGTHS), int(LENGTHS.max())), generator=generator)
    present = torch.arange(inputs.shape[1]) < LENGTHS[:, None]
    return TrainBatch(
        rows=torch.from_numpy(rows),
        features=doubled(ITEMS.take(rows), dtype) if spec.item_transforms else NO_FEATURES,
        inputs=inputs * present,
        lengths=LENGTHS,
        tokens=present.flatten().nonzero().squeeze(1),
        user_features=doubled(USERS.take(np.array([1, 0, 5, 2])), dtype) if spec.user_transforms else NO_FEATURES,
    )


@pytest.mark.parametrize("similarity", ["dot", "cosine"])
@pytest.mark.parametrize("history", ["transformer", "pooling"])
@pytest.mark.parametrize(
    "base", [PLAIN, RICH, replace(RICH, num_members=2)], ids=["ids only", "all kinds of metadata", "two members"]
)
def test_every_parameter_receives_a_gradient(base, history, similarity):
    spec = replace(base, history=history, similarity=similarity, dropout=0.1)
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


def places(model, batch):
    """[B, L, D] the user vector of every place."""
    items_MD = model.encode_items(batch.rows, batch.features)
    return model.join_members([model.user_towers[0](items_MD[batch.inputs], batch.lengths, batch.user_features)])


def test_a_later_event_changes_no_earlier_output():
    model = make(RICH)
    batch = make_batch(RICH)
    before = places(model, batch)
    for place in range(5):
        inputs = batch.inputs.clone()
        inputs[0, place] = inputs[0, place] % (NUM_ROWS - 1) + 1
        after = places(model, replace(batch, inputs=inputs))
        changed = (after - before).abs().amax(dim=-1) > 1e-12
        assert not changed[0, :place].any()
        assert changed[0, place:].all()  # and every later one sees it
        assert not changed[1:].any()


def test_order_matters_to_the_transformer_alone():
    for history, matters in (("transformer", True), ("pooling", False)):
        spec = replace(PLAIN, history=history)
        model = make(spec)
        vectors = torch.randn(1, 5, D, dtype=torch.float64)
        swapped = vectors[:, [1, 0, 2, 3, 4]]
        first, second = (model.encode_users(x, torch.tensor([5]), NO_FEATURES) for x in (vectors, swapped))
        assert ((first - second).abs().max() > 1e-6) == matters


@pytest.mark.parametrize("num_layers", [1, 3])
@pytest.mark.parametrize("similarity", ["dot", "cosine"])
def test_last_is_the_last_place_of_forward(similarity, num_layers):
    spec = replace(RICH, similarity=similarity, num_layers=num_layers)
    model = make(spec)
    batch = make_batch(spec)
    history_BLD = model.encode_items(batch.rows, batch.features)[batch.inputs]
    last_BD = model.encode_users(history_BLD, batch.lengths, batch.user_features)
    every_BLD = places(model, batch)
    torch.testing.assert_close(last_BD, every_BLD[torch.arange(4), LENGTHS - 1], rtol=0, atol=1e-12)


def test_forward_reads_the_tokens_in_order():
    model = make(RICH)
    batch = make_batch(RICH)
    _, users_TD, _ = model(batch)
    every_BLD = places(model, batch)
    by_hand = [every_BLD[b, place] for b in range(4) for place in range(LENGTHS[b])]
    torch.testing.assert_close(users_TD, torch.stack(by_hand), rtol=0, atol=1e-12)


def test_pooling_leaves_the_target_out():
    spec = replace(PLAIN, history="pooling")
    model = make(spec)
    history_BLD = torch.randn(4, 5, D, dtype=torch.float64)
    found = model.user_towers[0](history_BLD, LENGTHS, NO_FEATURES)
    for b, length in enumerate(LENGTHS.tolist()):
        for place in range(length):
            others = [history_BLD[b, other] for other in range(length) if other != place]
            mean = torch.stack(others).mean(dim=0) if others else torch.zeros(D, dtype=torch.float64)
            torch.testing.assert_close(found[b, place], mean, rtol=1e-12, atol=1e-12)
    last = model.user_towers[0].last(history_BLD, LENGTHS, NO_FEATURES)
    for b, length in enumerate(LENGTHS.tolist()):  # serving pools them all
        torch.testing.assert_close(last[b], history_BLD[b, :length].mean(dim=0), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("history", ["transformer", "pooling"])
def test_padding_is_irrelevant(history):
    spec = replace(PLAIN, history=history)
    model = make(spec)
    history_BLD = torch.randn(4, 5, D, dtype=torch.float64)
    present_BL = torch.arange(5) < LENGTHS[:, None]
    other_BLD = torch.where(present_BL.unsqueeze(-1), history_BLD, torch.full_like(history_BLD, 1e3))
    wider_BLD = torch.cat([other_BLD, torch.full((4, 3, D), -7.0, dtype=torch.float64)], dim=1)
    expected_BD = model.encode_users(history_BLD, LENGTHS, NO_FEATURES)
    expected_BLD = model.user_towers[0](history_BLD, LENGTHS, NO_FEATURES)
    for changed_BLD in (other_BLD, wider_BLD):
        found_BD = model.encode_users(changed_BLD, LENGTHS, NO_FEATURES)
        torch.testing.assert_close(found_BD, expected_BD, rtol=0, atol=1e-12)
        found_BLD = model.user_towers[0](changed_BLD, LENGTHS, NO_FEATURES)[:, :5]
        torch.testing.assert_close(found_BLD[present_BL], expected_BLD[present_BL], rtol=0, atol=1e-12)


@pytest.mark.parametrize("similarity", ["dot", "cosine"])
@pytest.mark.parametrize("history", ["transformer", "pooling"])
def test_a_user_does_not_depend_on_the_others(history, similarity):
    spec = replace(RICH, history=history, similarity=similarity)
    model = make(spec)
    history_BLD = torch.randn(4, 5, D, dtype=torch.float64)
    together = model.encode_users(history_BLD, LENGTHS, doubled(USERS.take(np.array([1, 0, 5, 2]))))
    for b, user in enumerate([1, 0, 5, 2]):
        alone = history_BLD[b : b + 1, : LENGTHS[b]]
        found = model.encode_users(alone, LENGTHS[b : b + 1], doubled(USERS.take(np.array([user]))))
        torch.testing.assert_close(found[0], together[b], rtol=0, atol=1e-12)


@pytest.mark.parametrize("num_members", [1, 2])
def test_cosine_gives_unit_vectors(num_members):
    spec = replace(RICH, similarity="cosine", num_members=num_members)
    model = make(spec)
    items_MD, users_TD, _ = model(make_batch(spec))
    for vectors in (items_MD, users_TD):
        torch.testing.assert_close(vectors.norm(dim=1), torch.ones(len(vectors), dtype=torch.float64))
    plain, *_ = make(replace(spec, similarity="dot"))(make_batch(spec))
    unit = [torch.nn.functional.normalize(each, dim=1) for each in plain.chunk(num_members, dim=1)]
    torch.testing.assert_close(torch.cat(unit, dim=1) / num_members**0.5, items_MD)


@pytest.mark.parametrize("similarity", ["dot", "cosine"])
@pytest.mark.parametrize("history", ["transformer", "pooling"])
def test_the_score_of_an_ensemble_is_the_mean_of_its_members_scores(history, similarity):
    spec = replace(RICH, history=history, similarity=similarity, num_members=3)
    model, batch = make(spec), make_batch(spec)

    def scores(model):
        items_MV, users_TV, _ = model(batch)
        history_BLV = torch.nn.functional.embedding(batch.inputs, items_MV)
        last_BV = model.encode_users(history_BLV, batch.lengths, batch.user_features)
        return torch.cat([users_TV, last_BV]) @ items_MV.T

    alone = []
    for member in range(3):
        mine = {name.replace(f"towers.{member}.", "towers.0."): each for name, each in model.state_dict().items()}
        single = make(replace(spec, num_members=1))
        single.load_state_dict({name: mine[name] for name in single.state_dict()})
        alone.append(scores(single))
    torch.testing.assert_close(scores(model), torch.stack(alone).mean(dim=0), rtol=0, atol=1e-12)
    assert (alone[0] - alone[1]).abs().max() > 0.01


@pytest.mark.parametrize("temperature", [0.001, 0.05, 1.0, 7.0])
def test_a_fixed_temperature_is_taken_as_it_is(temperature):
    spec = replace(PLAIN, temperature=temperature)
    model = make(spec, torch.float32)
    assert model(make_batch(spec, torch.float32))[2].item() == pytest.approx(temperature)
    assert not model.log_temperature.requires_grad


@pytest.mark.parametrize(("start", "bound", "way_back"), [(0.0001, 0.01, -1.0), (50.0, 2.0, 1.0)])
def test_a_learned_temperature_is_bounded_and_finds_back(start, bound, way_back):
    """Past a bound it is put on the bound, where it still has a gradient: it is not stuck there."""
    spec = replace(PLAIN, temperature=start, learn_temperature=True)
    model = make(spec, torch.float32)
    temperature = model(make_batch(spec, torch.float32))[2]
    assert temperature.item() == pytest.approx(bound)
    (way_back * temperature).backward()
    with torch.no_grad():
        model.log_temperature -= 0.1 * model.log_temperature.grad.sign()
    found = model(make_batch(spec, torch.float32))[2].item()
    assert LOG_TEMPERATURES[0] < np.log(found) < LOG_TEMPERATURES[1]


def test_without_its_id_an_item_is_its_metadata():
    model = make(replace(RICH, id_dropout=1.0)).train()
    rows, features = torch.tensor([1, 5, 0]), doubled(ITEMS.take(np.array([3, 3, 3])))
    dropped = model.encode_items(rows, features)
    torch.testing.assert_close(dropped[0], dropped[1])
    torch.testing.assert_close(dropped[0], dropped[2])  # just where an item never seen in training is placed
    assert (model.eval().encode_items(rows, features)[0] - dropped[0]).abs().max() > 0.01
    other = model.train().encode_items(rows[:1], doubled(ITEMS.take(np.array([4]))))
    assert (other[0] - dropped[0]).abs().max() > 0.01


def test_id_dropout_drops_its_share():
    model = make(replace(PLAIN, num_rows=2, id_dropout=0.3), torch.float32).train()
    vectors = model.encode_items(torch.ones(20_000, dtype=torch.int64), NO_FEATURES)
    dropped = (vectors == model.item_towers[0].ids.embeddings["item"].weight[0]).all(dim=1)
    assert 0.28 < dropped.double().mean() < 0.32
    kept = make(replace(PLAIN, num_rows=2)).train().encode_items(torch.ones(9, dtype=torch.int64), NO_FEATURES)
    assert (kept == kept[0]).all()


def test_user_dropout_leaves_the_history():
    spec = replace(RICH, history="pooling", user_dropout=0.5)
    history_BLD = torch.randn(400, 2, D, dtype=torch.float64)[:1].expand(400, -1, -1)
    lengths, features = torch.full((400,), 2), doubled(USERS.take(np.full(400, 3)))
    users_BD = make(spec).train().encode_users(history_BLD, lengths, features)
    bare = (users_BD - make(spec).user_towers[0].norm(history_BLD.mean(dim=1))).abs().amax(dim=1) < 1e-9
    assert 0.4 < bare.double().mean() < 0.6
    assert (users_BD[~bare] - users_BD[~bare][0]).abs().max() < 1e-9  # the others keep all of it


def test_an_own_vector_takes_the_place_of_a_pooled_history():
    own = fit_feature(OWN_ID, pl.Series(OWN_ID.name, [["a"], ["b"]]))
    encoded = pl.DataFrame([own.encode(pl.Series(OWN_ID.name, [["a"], ["b"], ["new"]]))])
    features = FeatureTable.from_frame((own,), encoded).take(np.array([1, 2, 3, 0]))
    history_BLD, lengths = torch.randn(4, 2, D), torch.full((4,), 2)
    pooled = make(replace(PLAIN, history="pooling", own_vectors=True, user_transforms=(own,)), torch.float32)
    table = pooled.user_towers[0].metadata.tables.embedding_bags[f"user_{OWN_ID.name}"].weight
    torch.nn.init.normal_(pooled.user_towers[0].fold_in.weight)
    torch.nn.init.normal_(pooled.user_towers[0].fold_in.bias)
    users_BD = pooled.encode_users(history_BLD, lengths, features)
    fold_in, pooled_BD = pooled.user_towers[0].fold_in, torch.nn.functional.normalize(history_BLD.mean(dim=1), dim=1)
    torch.testing.assert_close(users_BD, torch.cat([table[1:3], pooled_BD[2:] @ fold_in.weight.T + fold_in.bias]))
    ordered = make(replace(PLAIN, user_transforms=(own,)), torch.float32)
    moved = ordered.encode_users(history_BLD, lengths, features) - ordered.encode_users(
        history_BLD.flip(1), lengths, features
    )
    assert moved.abs().amax(dim=1).min() > 0.01  # an ordered history still speaks


@pytest.mark.parametrize("row", [NUM_ROWS, -1])
def test_a_row_out_of_range_is_an_error_where_the_table_is_whole(row):
    with pytest.raises(IndexError):
        make(PLAIN).encode_items(torch.tensor([row]), NO_FEATURES)


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
    spec = replace(RICH, history=history, num_members=num_members, dropout=0.1, id_dropout=0.2, user_dropout=0.1)
    after = []
    for torchrec in (False, True):
        torch.manual_seed(0)
        model = TwoTower(spec, torchrec=torchrec).train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
        items_MV, users_TV, temperature = model(make_batch(spec, torch.float32))
        (items_MV @ users_TV.T / temperature).sigmoid().mean().backward()
        optimizer.step()
        after.append(model.state_dict())
    assert list(after[0]) == list(after[1])
    assert all(torch.equal(after[0][name], after[1][name]) for name in after[0])
