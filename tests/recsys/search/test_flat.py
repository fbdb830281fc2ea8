import faiss
import numpy as np
import pytest

from recsys.search.exact_request import QuantizedCatalogue
from recsys.search.flat import FLAT, FlatVectors
from recsys.search.index import ItemIndex
from tests.search_worlds import assert_same, brute_force


@pytest.fixture
def faiss_flat(world):
    index = faiss.IndexFlatIP(world[0].shape[1])
    index.add(world[0][1:])
    return index


def test_an_exact_index_without_byte_products_answers_from_faiss(world, monkeypatch):
    monkeypatch.setattr(QuantizedCatalogue, "pays", lambda dim: False)
    vectors_ND, users_BD = world
    index = ItemIndex.build(vectors_ND, kind="exact")
    assert_same(index.search(users_BD[:2], 10), brute_force(vectors_ND, users_BD[:2], 10))


@pytest.mark.parametrize(("num_users", "fetch"), [(1, 7), (3, 6_002), (150, 128)])
def test_vectors_are_searched_without_a_copy_as_a_flat_index_does(world, faiss_flat, num_users, fetch):
    vectors_ND, users_BD = world
    flat, specs = FLAT.build(vectors_ND)
    assert [spec.kind for spec in specs] == ["exact"]
    assert np.shares_memory(flat.vectors, vectors_ND)
    scores, ids = np.empty((num_users, fetch), np.float32), np.empty((num_users, fetch), np.int64)
    flat.search(users_BD[:num_users], fetch, D=scores, I=ids)
    expected_scores, expected_ids = faiss_flat.search(users_BD[:num_users], fetch)
    np.testing.assert_array_equal(ids, expected_ids)
    np.testing.assert_array_equal(scores, expected_scores)


def test_the_file_is_the_one_that_faiss_writes(world, faiss_flat, tmp_path):
    vectors_ND, _ = world
    FLAT.write(FlatVectors(vectors_ND[1:]), tmp_path / "ours")
    faiss.write_index(faiss_flat, str(tmp_path / "faiss"))
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "faiss").read_bytes()
    content = np.fromfile(tmp_path / "ours", np.uint8)
    assert np.shares_memory(FLAT.read(content, vectors_ND, FLAT.build(vectors_ND)[1][0]).vectors, vectors_ND)
