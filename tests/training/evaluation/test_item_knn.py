"""Item-kNN against dense brute force, for small catalogues and the way it is computed for large ones."""

import numpy as np
import pytest

from recsys.data.jagged import Jagged
from tests.small_histories import NUM_ITEMS, K, best, random_rows
from training.evaluation import item_knn as module
from training.evaluation.item_knn import fit_item_knn, item_knn, item_similarity, rank_neighbours


def brute_similarity(rows, num_neighbours, shrinkage):
    """Shrunk cosine by loops over users and pairs of items."""
    sets = [{item for item in row if item > 0} for row in rows]
    weights = [len(items) ** -0.5 if items else 0.0 for items in sets]
    mean = sum(w * len(items) for w, items in zip(weights, sets, strict=True)) / sum(map(len, sets))
    shared = np.zeros((NUM_ITEMS + 1, NUM_ITEMS + 1))
    for weight, items in zip(weights, sets, strict=True):
        for first in items:
            for second in items:
                shared[first, second] += weight / mean
    similarity = np.zeros_like(shared)
    for first in range(1, NUM_ITEMS + 1):
        row = np.full(NUM_ITEMS + 1, -np.inf)
        for second in range(1, NUM_ITEMS + 1):
            if second != first and shared[first, second] > 0:
                length = np.sqrt(shared[first, first] * shared[second, second])
                row[second] = shared[first, second] / (length + shrinkage)
        for neighbour in best(row, [], num_neighbours):
            similarity[first, neighbour] = max(row[neighbour], 0)
    return similarity


@pytest.mark.parametrize("shrinkage", [0.0, 3.0])
@pytest.mark.parametrize("num_neighbours", [4, 100])
def test_item_similarity_is_brute_force(num_neighbours, shrinkage):
    rows, train = random_rows(1, 60)
    actual = item_similarity(train, NUM_ITEMS, num_neighbours=num_neighbours, shrinkage=shrinkage)
    expected = brute_similarity(rows, num_neighbours, shrinkage)
    np.testing.assert_allclose(np.sort(actual.toarray()), np.sort(expected), rtol=1e-5)  # a tie may fall either way
    if num_neighbours >= NUM_ITEMS:
        np.testing.assert_allclose(actual.toarray(), expected, rtol=1e-5)


@pytest.mark.parametrize("half_life", [None, 1.5])
def test_item_knn_is_brute_force(half_life):
    rows, train = random_rows(2, 60)
    asked, histories = random_rows(3, 40)
    similarity = brute_similarity(rows, NUM_ITEMS, 3.0)
    actual = item_knn(train, NUM_ITEMS, histories, K, shrinkage=3.0, half_life=half_life)
    for history, ranking in zip(asked, actual.tolist(), strict=True):
        score = np.zeros(NUM_ITEMS + 1)
        for age, item in enumerate(reversed(history)):
            score += similarity[item] * (1 if half_life is None else 0.5 ** (age / half_life))
        score[score == 0] = -np.inf
        expected = best(score, history, K)
        assert [item > 0 for item in ranking] == [item > 0 for item in expected]
        np.testing.assert_allclose(score[ranking], score[expected], rtol=1e-5)  # ranks differ by rounding only


def test_item_knn_by_hand():
    train = Jagged.from_rows([[1, 2], [1, 2], [1, 3], [4, 5]])
    ranked = item_knn(train, 6, Jagged.from_rows([[1], [4], [6], [0], []]), 3)
    assert ranked.tolist() == [[2, 3, 0], [5, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0]]


def test_shrinkage_distrusts_items_with_few_common_users():
    rare, frequent = [[1, 2], [1, 2]], [[1, 3], [1, 3], [1, 3], [3], [3], [3], [3], [1], [1]]
    train = Jagged.from_rows(rare + frequent)
    plain, shrunk = (item_knn(train, 3, Jagged.from_rows([[1]]), 1, shrinkage=s) for s in (0.0, 20.0))
    assert (plain.item(), shrunk.item()) == (2, 3)


def test_recent_events_count_more_with_a_half_life():
    train = Jagged.from_rows([[1, 2], [1, 2], [1, 2], [3, 4], [3, 4], [3, 5]])
    history = Jagged.from_rows([[1, 3]])
    assert item_knn(train, 5, history, 1).item() == 2
    assert item_knn(train, 5, history, 1, half_life=0.5).item() == 4


@pytest.fixture
def large(monkeypatch):
    """Every catalogue counts as large, and blocks are small."""
    monkeypatch.setattr(module, "MANY_ITEMS", 1)
    monkeypatch.setattr(module, "CELLS", 150)
    monkeypatch.setattr(module, "EMPTY", 0)
    monkeypatch.setattr(module, "QUERIES_AT_ONCE", 7)


@pytest.mark.parametrize("num_neighbours", [1, 4, 100])
@pytest.mark.parametrize("half_life", [None, 1.5])
def test_a_large_catalogue_is_ranked_with_the_same_bits(num_neighbours, half_life, request):
    _, train = random_rows(4, 60)
    _, histories = random_rows(5, 40)
    settings = {"num_neighbours": num_neighbours, "half_life": half_life}
    small = fit_item_knn(train, NUM_ITEMS, **settings)
    ranked = rank_neighbours(small, histories, K)
    request.getfixturevalue("large")
    large = fit_item_knn(train, NUM_ITEMS, **settings)
    np.testing.assert_array_equal(large.matrix.toarray(), small.matrix.toarray())
    np.testing.assert_array_equal(rank_neighbours(large, histories, K), ranked)


@pytest.mark.parametrize("is_large", [False, True])
def test_only_the_rows_of_some_items_are_filled(is_large, request):
    if is_large:
        request.getfixturevalue("large")
    _, train = random_rows(6, 60)
    items = np.array([2, 3, 11, 30])
    whole, part = (
        item_similarity(train, NUM_ITEMS, num_neighbours=5, shrinkage=1.0, items=wanted).toarray()
        for wanted in (None, items)
    )
    np.testing.assert_array_equal(part[items], whole[items])
    assert not np.delete(part, items, axis=0).any()


def test_no_item_is_asked_for():
    _, train = random_rows(7, 60)
    nothing = fit_item_knn(train, NUM_ITEMS, items=np.empty(0, np.int64))
    assert not rank_neighbours(nothing, Jagged.from_rows([[1], []]), 3).any()
