from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from recsys.data.encoder import Transform
from recsys.data.jagged import Jagged
from recsys.model import encoding, trained_metadata
from recsys.model.encoding import NEIGHBOURS, encode_catalogue, encode_histories, metadata_vectors
from recsys.model.feature_tensors import FeatureTable
from recsys.model.model_spec import ModelSpec
from recsys.model.two_tower import TwoTower

CPU = torch.device("cpu")
NUM_TRAINED, NUM_ITEMS, D = 9, 12, 8  # three cold items
SPEC = ModelSpec(
    num_rows=NUM_TRAINED + 1, item_transforms=(), user_transforms=(), embedding_dim=D, num_members=1,
    history_encoder="transformer",
    own_vectors=False, similarity="dot", num_layers=2, num_heads=2, max_history=5, dropout=0.2, id_dropout=0.5,
    user_dropout=0.0, temperature=1.0, learn_temperature=False,
)  # fmt: skip
COLOUR = Transform("colour", "multi_categorical", 4)
COLOURS = FeatureTable({"colour": Jagged.from_rows([[], *[[row % 3 + 1] for row in range(NUM_ITEMS)]])}, None)
NO_FEATURES = FeatureTable({}, None)


def make(**changes):
    torch.manual_seed(0)
    model = TwoTower(replace(SPEC, **changes)).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight += torch.randn_like(weight) * 0.3
    return model


def catalogue(model, features=NO_FEATURES):
    return encode_catalogue(model, features, NUM_ITEMS, CPU)


def encode(model, items, history, features=NO_FEATURES, user_rows=None):
    rows = np.zeros(len(history), np.int64) if user_rows is None else user_rows
    return encode_histories(model, items, history, features, rows)


def test_a_trained_item_has_its_id_and_a_cold_item_the_ids_of_similar_items():
    model = make(item_transforms=(COLOUR,))
    items = catalogue(model, COLOURS)
    assert items.shape == (NUM_ITEMS + 1, D)
    assert (items[0] == 0).all()
    ids = model.item_tower.ids.embeddings["item"].weight
    colours = model.item_tower.metadata.tables.embedding_bags["item_colour"].weight[1:]
    alike = functional.normalize(colours) @ functional.normalize(colours).T
    for position in range(1, NUM_ITEMS + 1):
        colour = (position - 1) % 3
        id_of_it = ids[position] if position <= NUM_TRAINED else ids[0]
        if position > NUM_TRAINED:  # three trained items of each of three colours
            for other in range(1, NUM_TRAINED + 1):
                id_of_it = id_of_it + alike[colour, (other - 1) % 3].clamp(min=0) / NEIGHBOURS * ids[other]
        torch.testing.assert_close(items[position], id_of_it + colours[colour])


def test_a_cold_item_borrows_ids_of_its_nearest_items_only(monkeypatch):
    model = make(item_transforms=(COLOUR,), num_members=2)
    monkeypatch.setattr(trained_metadata, "NEIGHBOURS", 3)
    items = catalogue(model, COLOURS)
    ids = model.item_tower.ids.embeddings["item"].weight / 2**0.5
    blank = model.encode_items(torch.tensor([0]), COLOURS.take(np.array([NUM_TRAINED + 1])))[0]
    same_colour = ids[[1, 4, 7]]  # of item 10
    torch.testing.assert_close(items[NUM_TRAINED + 1], blank + same_colour.mean(dim=0))


def test_a_cold_item_without_metadata_borrows_nothing():
    model = make(item_transforms=(COLOUR,))
    bags = Jagged.from_rows([[], *[[row % 3 + 1] for row in range(NUM_TRAINED)], [], [1], [2]])
    items = catalogue(model, FeatureTable({"colour": bags}, None))
    torch.testing.assert_close(items[NUM_TRAINED + 1], model.item_tower.ids.embeddings["item"].weight[0])


def test_the_size_of_chunks_changes_no_vector(monkeypatch):
    model = make(item_transforms=(COLOUR,), similarity="cosine")
    whole = catalogue(model, COLOURS)
    for size in (1, 5, NUM_ITEMS + 1):
        monkeypatch.setattr(encoding, "ITEMS_AT_ONCE", size)
        torch.testing.assert_close(catalogue(model, COLOURS), whole, rtol=0, atol=0)


@pytest.mark.parametrize("history", ["transformer", "pooling"])
@pytest.mark.parametrize("similarity", ["dot", "cosine"])
def test_a_user_without_a_known_item_has_the_zero_vector(history, similarity):
    model = make(history_encoder=history, similarity=similarity)
    users = encode(model, catalogue(model), Jagged.from_rows([[], [3], [0, 0], []]))
    assert (users[[0, 2, 3]] == 0).all()
    assert (users[1] != 0).any()
    assert encode(model, catalogue(model), Jagged.from_rows([[], []])).tolist() == [[0.0] * D] * 2
    assert encode(model, catalogue(model), Jagged.from_rows([])).shape == (0, D)


@pytest.mark.parametrize("history", ["transformer", "pooling"])
def test_unknown_items_are_ignored_and_the_latest_events_count(history):
    model = make(history_encoder=history)
    items = catalogue(model)
    histories = Jagged.from_rows([[1, 0, 2, 0], [9, 9, 9, 1, 2, 3, 4, 5], [9, 1, 0, 2, 0, 3, 4, 0, 0, 5, 0]])
    effective = Jagged.from_rows([[1, 2], [1, 2, 3, 4, 5], [1, 2, 3, 4, 5]])
    torch.testing.assert_close(encode(model, items, histories), encode(model, items, effective), rtol=0, atol=1e-6)
    other = encode(model, items, Jagged.from_rows([[1, 2], [2, 3, 4, 5], [9, 2, 3, 4, 5]]))
    assert ((other - encode(model, items, effective)).abs().amax(dim=1) > 1e-4).tolist() == [False, True, True]


def test_a_cold_item_counts_in_a_history():
    model = make(item_transforms=(COLOUR,))
    items = catalogue(model, COLOURS)
    first, second = encode(model, items, Jagged.from_rows([[1, NUM_ITEMS], [1, NUM_ITEMS - 1]]))
    assert (first - second).abs().max() > 1e-3


@pytest.mark.parametrize("history", ["transformer", "pooling"])
@pytest.mark.parametrize("num_events", [1, 7, 64, 1 << 15])
def test_many_users_equal_one_by_one(history, num_events, monkeypatch):
    model = make(history_encoder=history, user_transforms=(replace(COLOUR, name="colour"),), similarity="cosine")
    items = catalogue(model)
    rng = np.random.default_rng(0)
    rows = [rng.integers(0, NUM_ITEMS + 1, rng.integers(0, 9)).tolist() for _ in range(40)]
    user_rows = rng.integers(0, NUM_ITEMS + 1, 40)
    monkeypatch.setattr(encoding, "EVENTS_AT_ONCE", num_events)
    together = encode(model, items, Jagged.from_rows(rows), COLOURS, user_rows)
    for query, row in enumerate(rows):
        alone = encode(model, items, Jagged.from_rows([row]), COLOURS, user_rows[query : query + 1])
        torch.testing.assert_close(alone[0], together[query], rtol=0, atol=1e-6)


def test_long_histories_among_short_ones_are_batched_apart(monkeypatch):
    """A batch, padded to its longest history, holds at most EVENTS_AT_ONCE events."""
    model = make(history_encoder="pooling", max_history=50)
    sizes, encode_users = [], model.encode_users

    def watch(history_BLD, lengths_B, features):
        sizes.append(history_BLD.shape[0] * history_BLD.shape[1])
        return encode_users(history_BLD, lengths_B, features)

    monkeypatch.setattr(model, "encode_users", watch)
    monkeypatch.setattr(encoding, "EVENTS_AT_ONCE", 200)
    rng = np.random.default_rng(0)
    rows = [[1]] * 2_000 + [rng.integers(1, NUM_ITEMS + 1, 50).tolist() for _ in range(20)]
    encode(model, catalogue(model), Jagged.from_rows(rows))
    assert max(sizes) <= 200
    assert len(sizes) <= 2 + sum(map(len, rows)) / 200  # and little of it is padding


def test_metadata_vectors_know_no_id_and_have_length_one(monkeypatch):
    model = make(item_transforms=(COLOUR,), num_members=2)
    vectors = metadata_vectors(model, COLOURS, np.arange(NUM_ITEMS + 1))
    colours = model.item_tower.metadata.tables.embedding_bags["item_colour"].weight[1:].detach().numpy()
    expected = colours / np.linalg.norm(colours, axis=1, keepdims=True)
    np.testing.assert_allclose(vectors[1:], np.tile(expected, (NUM_ITEMS // 3, 1)), rtol=1e-5)
    assert not vectors[0].any()
    monkeypatch.setattr(encoding, "ITEMS_AT_ONCE", 5)
    np.testing.assert_array_equal(metadata_vectors(model, COLOURS, np.arange(NUM_ITEMS + 1)), vectors)
