from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.small_models import ITEMS, NO_FEATURES, NUM_ROWS, PLAIN, RICH, doubled, make


def test_an_item_whose_id_is_dropped_is_placed_by_its_features():
    model = make(replace(RICH, id_dropout=1 - 1e-12)).train()
    rows, features = torch.tensor([0, 1, 5]), doubled(ITEMS.take(np.array([3, 3, 3])))
    dropped = model.encode_items(rows, features)
    torch.testing.assert_close(dropped[0], dropped[1])
    torch.testing.assert_close(dropped[0], dropped[2])  # where a cold item is placed, too
    assert (model.eval().encode_items(rows, features)[1] - dropped[1]).abs().max() > 0.01
    other = model.train().encode_items(rows[:1], doubled(ITEMS.take(np.array([4]))))
    assert (other[0] - dropped[0]).abs().max() > 0.01


def test_without_ids_an_item_is_its_features_in_training_and_after():
    model = make(replace(RICH, id_dropout=1.0, similarity="cosine")).train()
    features = doubled(ITEMS.take(np.array([3, 3, 4])))
    trained, served = (model.train(mode).encode_items(torch.tensor([0, 1, 5]), features) for mode in (True, False))
    assert torch.equal(trained, served)
    torch.testing.assert_close(served[:2], model.encode_metadata(features)[:1].expand(2, -1))


def test_id_dropout_drops_its_share_of_ids_and_without_it_none():
    model = make(replace(PLAIN, num_rows=20_000, id_dropout=0.3), torch.float32).train()
    vectors = model.encode_items(torch.arange(20_000), NO_FEATURES)
    dropped = (vectors == model.item_tower.ids.embeddings["item"].weight[0]).all(dim=1)
    assert 0.28 < dropped.double().mean() < 0.32
    undropped = make(replace(PLAIN, num_rows=9)).train()
    assert (undropped.encode_items(torch.arange(9), NO_FEATURES)[1:] != 0).any()


@pytest.mark.parametrize("row", [NUM_ROWS, -1])
def test_a_row_outside_the_table_is_an_error(row):
    with pytest.raises(IndexError):
        make(PLAIN).encode_items(torch.tensor([row]), NO_FEATURES)
