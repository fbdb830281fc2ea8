"""Change after change, only what a change concerns is encoded, and all vectors are those of a whole encoding."""

import numpy as np
import pytest
import torch

from recsys.data import Jagged, Transform
from recsys.model import FeatureTable, ItemEncoder, ModelSpec, TwoTower, encode_catalogue

NUM_TRAINED, NUM_COLD, NUM_COLOURS = 60, 20, 30
SPEC = ModelSpec(
    num_rows=NUM_TRAINED + 1, item_transforms=(Transform("colour", "multi_categorical", NUM_COLOURS + 1),),
    user_transforms=(), embedding_dim=8, num_members=1, history_encoder="pooling", own_vectors=False, similarity="dot",
    num_layers=1, num_heads=2, max_history=5, dropout=0.0, id_dropout=0.0, user_dropout=0.0, temperature=1.0,
    learn_temperature=False,
)  # fmt: skip


def features_of(colours):
    return FeatureTable({"colour": Jagged.from_rows([[], *colours])}, None)


def whole(model, colours):
    return encode_catalogue(model, features_of(colours), len(colours), torch.device("cpu")).numpy()


@pytest.fixture
def model():
    torch.manual_seed(0)
    return TwoTower(SPEC).eval().requires_grad_(False)


@pytest.fixture
def colours():
    rng = np.random.default_rng(0)
    return [rng.integers(1, NUM_COLOURS + 1, rng.integers(0, 4)).tolist() for _ in range(NUM_TRAINED + NUM_COLD)]


def test_random_changes_give_the_vectors_of_a_whole_encoding(model, colours):
    rng, vectors = np.random.default_rng(1), whole(model, colours)
    encoder = ItemEncoder.of(model, features_of(colours))
    for _ in range(30):
        positions = np.unique(rng.integers(1, len(colours) + 1, rng.integers(0, 4)))
        added = int(rng.integers(0, 3))
        for position in positions:
            colours[position - 1] = rng.integers(1, NUM_COLOURS + 1, rng.integers(0, 4)).tolist()
        colours += [rng.integers(1, NUM_COLOURS + 1, 2).tolist() for _ in range(added)]
        changed = np.concatenate((positions, np.arange(len(colours) - added, len(colours)) + 1))
        table = features_of(colours)
        encoded = encoder.encode(changed, len(colours), table.take)
        encoder = encoded.encoder
        vectors = np.concatenate((vectors, np.zeros((added, 8), np.float32)))
        vectors[encoded.positions] = encoded.vectors
        assert (np.diff(encoded.positions) > 0).all()
        np.testing.assert_allclose(vectors, whole(model, colours), rtol=0, atol=1e-6)


def test_cold_items_that_cannot_borrow_otherwise_are_left_alone(model, colours):
    colours[NUM_TRAINED:] = [[1]] * 10 + [[2]] * 10
    colours[:NUM_TRAINED] = [[1]] * 20 + [[2]] * 20 + [[3]] * 20
    encoder = ItemEncoder.of(model, features_of(colours))

    def change(position, colour):
        colours[position - 1] = [colour]
        return encoder.encode(np.array([position]), len(colours), features_of(colours).take)

    cold = np.arange(NUM_TRAINED + 1, NUM_TRAINED + NUM_COLD + 1)
    assert change(NUM_TRAINED + 3, 2).positions.tolist() == [NUM_TRAINED + 3]
    first = change(1, 3)  # nobody has looked yet who borrows from it
    assert first.positions.tolist() == [1, *cold]
    encoder = first.encoder
    concerned = change(2, 3).positions.tolist()  # one of the ten nearest of whatever has colour 1
    assert concerned == [2, *(item for item in cold if colours[item - 1] == [1])]
    assert change(20, 3).positions.tolist() == [20]  # one of ten others that are as near, but come later
