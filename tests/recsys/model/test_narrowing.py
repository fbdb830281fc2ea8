"""Legend as in recsys/model/narrowing.py."""

import numpy as np
import pytest
import torch

from recsys.data.jagged import Jagged
from recsys.model import narrowing
from recsys.model.encoding import encode_catalogue, encode_histories
from recsys.model.narrowing import narrowed, principal_directions
from recsys.model.prepared_encoder import PreparedEncoder
from tests.recsys.model.test_encoding import COLOUR, COLOURS, CPU, NO_FEATURES, NUM_ITEMS, make

HISTORY = Jagged.from_rows([[1, 2, 3], [11, 0, 4], [9], [], [7, 8, 1, 2, 3, 4, 5, 6]])
SHAPES = [
    {}, {"num_members": 2}, {"similarity": "cosine", "num_members": 2}, {"history_encoder": "pooling"},
    {"item_transforms": (COLOUR,), "num_members": 2},
]  # fmt: skip


def vectors(model, items=None):
    """Those of all items and of some users."""
    features = COLOURS if model.spec.item_transforms else NO_FEATURES
    items = encode_catalogue(model, features, NUM_ITEMS, CPU) if items is None else items
    return items, encode_histories(model, items, HISTORY, NO_FEATURES, np.zeros(len(HISTORY), np.int64))


def scores(items_NS, users_QS):
    return users_QS.double() @ items_NS.double().T


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_rotation_alone_changes_no_score(shape):
    model = make(**shape).double()
    whole, users = vectors(model)
    same, items = narrowed(model, whole, model.spec.width)
    assert not torch.allclose(items, whole, atol=0.1)
    torch.testing.assert_close(scores(*vectors(same, items)), scores(whole, users), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_what_no_item_uses_is_cut_without_a_loss(shape):
    """As many directions as there are items tell them apart, whatever the width."""
    model = make(**shape, embedding_dim=16)
    whole, users = vectors(model)
    narrow, items = narrowed(model, whole, NUM_ITEMS)
    assert items.shape == (NUM_ITEMS + 1, NUM_ITEMS) == (len(whole), narrow.spec.served_width)
    assert (items[0] == 0).all()
    found, asked = vectors(narrow)
    torch.testing.assert_close(found, items, rtol=0, atol=1e-6)  # the model places every item at its cut vector
    assert asked.shape == (len(HISTORY), NUM_ITEMS)
    torch.testing.assert_close(scores(found, asked), scores(whole, users), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(narrow.lift(items), whole, rtol=1e-4, atol=1e-4)
    assert narrow.item_tower.ids.embeddings["item"].weight is not None
    assert set(narrow.state_dict()) == {*model.state_dict(), "basis"}


def test_the_first_directions_hold_the_most():
    items = torch.randn(200, 6, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 5, 2, 0.1, 3, 0.5])
    basis = principal_directions(items, 6)
    torch.testing.assert_close(basis.T @ basis, torch.eye(6, dtype=torch.float64))
    lengths = (items.double() @ basis).norm(dim=0)
    assert (lengths.diff() < 0).all()
    assert basis.abs().argmax(dim=0).tolist() == [1, 4, 2, 0, 5, 3]
    assert (basis.gather(0, basis.abs().argmax(dim=0, keepdim=True)) > 0).all()
    assert torch.equal(principal_directions(items, 2), basis[:, :2])


def test_it_does_not_matter_how_many_are_cut_at_once(monkeypatch):
    model = make(num_members=2)
    whole, _ = vectors(model)
    narrow, items = narrowed(model, whole, 5)
    monkeypatch.setattr(narrowing, "ITEMS_AT_ONCE", 2)
    torch.testing.assert_close(torch.cat([narrow.cut(row[None]) for row in whole]), items, rtol=0, atol=1e-7)
    torch.testing.assert_close(narrowed(model, whole, 5)[1], items, rtol=0, atol=1e-6)


def test_prepared_histories_are_those_of_the_tower():
    model = make(num_members=2)
    narrow, items = narrowed(model, vectors(model)[0], 5)
    narrow = narrow.double()
    expected = vectors(narrow, items)[1]
    found = PreparedEncoder(narrow).encode(items, HISTORY, NO_FEATURES, np.zeros(len(HISTORY), np.int64))
    assert found.shape == (len(HISTORY), 5)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
