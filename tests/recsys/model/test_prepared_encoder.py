"""The vectors are those of the towers, to the last bit of float32, whoever else is in the batch."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from recsys.data.jagged import Jagged
from recsys.model import prepared_encoder
from recsys.model.encoding import encode_histories
from recsys.model.feature_tensors import FeatureTable
from recsys.model.prepared_encoder import PreparedEncoder
from recsys.model.two_tower import TwoTower
from tests.recsys.model.test_encoding import COLOUR, NO_FEATURES, SPEC, make

NUM_ITEMS, LENGTHS = 300, [1, 2, 3, 4, 5, 16, 17, 63, 64, 65, 90, 91, 120]
SHAPES = [
    {}, {"num_layers": 1}, {"num_layers": 3, "num_members": 3}, {"num_members": 2, "embedding_dim": 12, "num_heads": 3},
    {"similarity": "cosine", "num_members": 2}, {"user_transforms": (COLOUR,), "num_members": 2},
]  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_vectors_are_those_of_the_towers(shape, monkeypatch):
    """Of every length around the horizons of the averages; with unknown items, too long ones, and none."""
    shape = {"max_history": 90, "embedding_dim": 8, **shape}
    model, rng = make(**shape).double(), np.random.default_rng(3)
    items = torch.from_numpy(rng.normal(size=(NUM_ITEMS + 1, model.spec.width)).astype(np.float32))
    rows = [rng.integers(1, NUM_ITEMS + 1, length) for length in LENGTHS * 3]
    history = Jagged.from_rows([*rows, [], [0, 0], [0, 5, 0, 7]])
    features, users = NO_FEATURES, np.zeros(len(history), np.int64)
    if "user_transforms" in shape:
        features, users = FeatureTable({"colour": Jagged.from_rows([[], [1], [2, 3]])}, None), users + 1
        users[::2] = 2
        users[::5] = 0
    batch = encode_histories(model, items, history, features, users)
    encoder = PreparedEncoder(model)
    alone = [encoder.encode(items, history.take([row]), features, users[[row]]) for row in range(len(history))]
    together = []
    for events in (1, 300, 10_000):  # one user at a time, some of similar length, and all
        monkeypatch.setattr(prepared_encoder, "EVENTS_OF_A_THREAD", events)
        together.append(encoder.encode(items, history, features, users))
    for vectors in (torch.cat(alone), *together):
        assert vectors.dtype == torch.float64
        torch.testing.assert_close(vectors, batch, rtol=1e-12, atol=1e-12)
        assert torch.equal(vectors.float(), batch.float())
        assert (vectors[len(rows) : len(rows) + 2] == 0).all()
        assert (vectors[: len(rows)].norm(dim=1) > 0).all()


def test_only_a_transformer_on_the_cpu_is_encoded_so():
    assert PreparedEncoder.fits(make())
    assert not PreparedEncoder.fits(make(history_encoder="pooling"))
    with torch.device("meta"):
        assert not PreparedEncoder.fits(TwoTower(replace(SPEC)))
