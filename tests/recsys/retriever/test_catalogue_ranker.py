"""Rankings in catalogue positions: vectors that were computed before are as good as histories."""

import numpy as np
import pytest

from recsys.data import Jagged
from recsys.errors import InputError
from recsys.retriever.catalogue_ranker import CatalogueRanker
from recsys.retriever.query import Query


@pytest.fixture(scope="module")
def ranker(retriever):
    return CatalogueRanker(retriever.bundle)


def test_vectors_replace_the_towers_but_not_the_history(ranker):
    history, rows = Jagged.from_rows([[5, 9], [], [0, 7], [3]]), np.array([0, 4, 2, 0])
    expected = ranker.rank(history, rows, k=12)
    vectors = ranker.model.encode(history, rows)
    from_vectors = ranker.rank(history, vectors=vectors, k=12)
    for name in ("positions", "scores", "fallback", "num_popular"):
        np.testing.assert_array_equal(getattr(from_vectors, name), getattr(expected, name))
    swapped = ranker.rank(history, vectors=vectors[[3, 1, 2, 0]], k=12)
    assert not np.array_equal(swapped.scores[0], expected.scores[0])
    assert not np.isin(swapped.positions[0], [5, 9]).any()


def test_a_search_holds_what_the_options_say(ranker):
    ids = ranker._bundle.encoder.item_ids
    history = Jagged.from_rows([[1, 2]])
    search = ranker.search(Query(k=10**9, only=[ids[0], ids[4], ids[5]], exclude=[ids[4]]))
    assert sorted(search(history).positions[0].tolist())[-1:] == [6]
    assert (search(history).positions > 0).sum() == 1
    seen = ranker.search(Query(k=3, only=[ids[0]], exclude_seen=False))
    assert seen(history).positions[0, 0] == 1
    with pytest.raises(InputError, match="k is -1"):
        ranker.search(Query(k=-1))
