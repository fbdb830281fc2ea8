"""One user at a time gets the vectors of a batch, to the last bit of float32."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from recsys.data.jagged import Jagged
from recsys.model.encoding import encode_histories
from recsys.model.feature_tensors import FeatureTable
from recsys.model.one_user import OneUserEncoder
from recsys.model.two_tower import TwoTower
from tests.recsys.model.test_encoding import COLOUR, NO_FEATURES, SPEC, make

NUM_ITEMS, LENGTHS = 300, [1, 2, 3, 4, 5, 16, 17, 63, 64, 65, 90, 91, 120]
SHAPES = [
    {}, {"num_layers": 1}, {"num_layers": 3, "num_members": 3}, {"num_members": 2, "embedding_dim": 12, "num_heads": 3},
    {"similarity": "cosine", "num_members": 2}, {"user_transforms": (COLOUR,), "num_members": 2},
]  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_vectors_are_those_of_a_batch(shape):
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
    one = OneUserEncoder(model).encode_each(items, history, features, users)
    assert one.dtype == torch.float64
    torch.testing.assert_close(one, batch, rtol=1e-12, atol=1e-12)
    assert torch.equal(one.float(), batch.float())
    assert (one[len(rows) : len(rows) + 2] == 0).all()
    assert (one[: len(rows)].norm(dim=1) > 0).all()


def test_only_a_transformer_on_the_cpu_is_encoded_so():
    assert OneUserEncoder.fits(make())
    assert not OneUserEncoder.fits(make(history_encoder="pooling"))
    with torch.device("meta"):
        assert not OneUserEncoder.fits(TwoTower(replace(SPEC)))
