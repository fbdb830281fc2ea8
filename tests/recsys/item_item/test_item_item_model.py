"""An item-item model scores as its definition says, sparse or dense, whole or truncated."""

import numpy as np
import pytest
from scipy.sparse import csr_array

from recsys.data.jagged import Jagged
from recsys.item_item.item_item_model import ItemItemModel

NUM_ITEMS = 12
HISTORIES = Jagged.from_rows([[3, 0, 1, 3], [], [2, 12], [0]])


def matrix(seed=0, share=0.4):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(NUM_ITEMS + 1, NUM_ITEMS + 1)).astype(np.float32)
    values *= rng.random(values.shape) < share
    values[0] = values[:, 0] = 0
    np.fill_diagonal(values, 0)
    return values


def model(values, half_life=1.5):
    return ItemItemModel("ease", "EASE", half_life, values)


@pytest.mark.parametrize("half_life", [None, 1.5])
@pytest.mark.parametrize("form", [np.asarray, csr_array])
def test_a_score_is_the_weighted_sum_over_the_history(form, half_life):
    values = matrix()
    scores = model(form(values), half_life).scores(HISTORIES)
    assert scores.dtype == np.float32
    for query in range(len(HISTORIES)):
        expected = np.zeros(NUM_ITEMS + 1)
        for age, item in enumerate(reversed(HISTORIES[query].tolist())):
            expected += (1 if half_life is None else 0.5 ** (age / half_life)) * values[item]
        np.testing.assert_allclose(scores[query], expected, atol=1e-6)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.9])
def test_entries_are_the_whole_matrix(share):
    values = matrix(share=share)
    original = model(values)
    entries = original.entries()
    again = ItemItemModel.of("ease", "EASE", 1.5, entries)
    assert isinstance(again.matrix, np.ndarray) == (share > 0.25)
    np.testing.assert_array_equal(again.scores(HISTORIES), original.scores(HISTORIES))
    assert again.num_items == NUM_ITEMS
    assert again.only_popularity == original.only_popularity == (share == 0)
    assert (entries.weights != 0).all()
    dtypes = (entries.offsets.dtype, entries.neighbours.dtype, entries.weights.dtype)
    assert dtypes == (np.int64, np.int32, np.float32)


@pytest.mark.parametrize("form", [np.asarray, csr_array])
def test_a_truncated_model_keeps_the_largest_entries_of_every_row(form):
    values = matrix(share=0.9)
    values[5, 1:4] = 7, -7, 7  # a tie, which goes to the lower position
    cut = model(form(values)).truncated(2)
    for row in range(NUM_ITEMS + 1):
        kept = np.zeros(NUM_ITEMS + 1, np.float32)
        largest = np.argsort(-np.abs(values[row]), kind="stable")[:2]
        kept[largest] = values[row, largest]
        np.testing.assert_array_equal(cut.rows(np.array([row], np.int32))[0], kept)
    whole = model(form(values)).truncated(NUM_ITEMS)
    np.testing.assert_array_equal(whole.scores(HISTORIES), model(form(values)).scores(HISTORIES))
