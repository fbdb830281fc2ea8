"""Which trained items are nearest, before and after some of them have changed."""

import numpy as np
import pytest
import torch

from recsys.model import trained_metadata
from recsys.model.trained_metadata import TrainedMetadata
from recsys.search import ItemIndex, unit_rows


@pytest.fixture
def trained():
    rng = np.random.default_rng(0)
    vectors = unit_rows(rng.normal(size=(201, 6)).astype(np.float32))
    vectors[0] = 0
    return TrainedMetadata(ItemIndex.build(vectors, kind="exact"), vectors)


def test_the_nearest_are_those_with_the_largest_cosine(trained):
    near = trained.nearest(trained.vectors[[5, 5, 9]])
    assert near.rows[:, 0].tolist() == [5, 5, 9]
    np.testing.assert_array_equal(near.rows[0], near.rows[1])
    expected = np.argsort(-(trained.vectors[1:] @ trained.vectors[9]), kind="stable")[:10] + 1
    np.testing.assert_array_equal(near.rows[2], expected)


def test_a_changed_item_is_found_where_it_is_now(trained):
    for position in (3, 4, 5, 6, 7):  # the last of them are more than a fiftieth: the index is built again
        before = trained.vectors[position].copy()
        trained = trained.updated(np.array([position]), -trained.vectors[[position]])
        assert trained.nearest(-before[None]).rows[0, 0] == position
        assert position not in trained.nearest(before[None]).rows


def test_weights_are_shares_of_the_neighbours_and_never_negative(trained, monkeypatch):
    monkeypatch.setattr(trained_metadata, "NEIGHBOURS", 200)
    near = trained.nearest(trained.vectors[[5]])
    weights = near.borrowed(torch.device("cpu")).weights[0].numpy()
    np.testing.assert_allclose(weights, np.maximum(near.cosines[0], 0) / 200)
    assert (weights == 0).any()
