import faiss
import numpy as np
import pytest

from recsys.data.jagged import Jagged
from recsys.errors import InputError
from recsys.search import exact_batch, exact_request
from recsys.search.exact_request import QuantizedCatalogue
from recsys.search.flat import BYTES, FLAT, FlatVectors
from recsys.search.index import ItemIndex
from recsys.search.rounding import largest_factor
from tests.search_worlds import assert_same, brute_force, catalogue


@pytest.fixture
def faiss_flat(world):
    index = faiss.IndexFlatIP(world[0].shape[1])
    index.add(world[0][1:])
    return index


def test_an_exact_index_without_byte_products_answers_from_faiss(world, monkeypatch):
    monkeypatch.setattr(QuantizedCatalogue, "pays", lambda dim, has_codes=False: False)
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


@pytest.mark.parametrize("factor", [127, 64, 0])
@pytest.mark.parametrize("spread", [1.0, 1e-2, 1e-4])
def test_bytes_miss_nothing(monkeypatch, factor, spread):
    """Also where rounding makes items equal, for one user and many, on CPUs that multiply bytes in any way or none."""
    if largest_factor(16) < factor:
        pytest.skip("this CPU does not multiply such bytes")
    for module in (exact_batch, exact_request):
        monkeypatch.setattr(module, "largest_factor", lambda dim: factor)
    rng = np.random.default_rng(0)
    vectors_ND = (rng.standard_normal(16) + spread * rng.standard_normal((5_001, 16))).astype(np.float32)
    vectors_ND[7] *= 30
    vectors_ND[8:11] = [[0], [1e-44], [-3e-39]]
    users_BD = rng.standard_normal((9, 16)).astype(np.float32)
    excluded, allowed = Jagged.from_rows([[row, row + 1] for row in range(9)]), rng.random(5_001) < 0.9
    index = ItemIndex.build(vectors_ND, kind="bytes")
    assert index.spec.recall == 1
    expected = brute_force(vectors_ND, users_BD, 10, excluded, allowed)
    assert_same(index.search(users_BD, 10, excluded=excluded, allowed=allowed), expected)
    for row in range(3):
        answers = index.search(users_BD[row : row + 1], 10, excluded=excluded.take(np.array([row])), allowed=allowed)
        assert_same(answers, (expected[0][row : row + 1], expected[1][row : row + 1]))
    users_BD[0] = 3e18
    assert_same(index.search(users_BD, 10), brute_force(vectors_ND, users_BD, 10))


def test_bytes_take_at_most_27_percent_and_share_the_memory_of_their_file(tmp_path):
    vectors_ND, users_BD = catalogue(2_000, dim=64)
    index, specs = BYTES.build(vectors_ND)
    assert index.num_bytes <= 0.27 * vectors_ND.nbytes
    BYTES.write(index, tmp_path / "codes")
    content = np.fromfile(tmp_path / "codes", np.uint8)
    loaded = BYTES.read(content, vectors_ND, specs[0])
    assert np.shares_memory(loaded.codes, content)
    assert ItemIndex(loaded, vectors_ND, specs[0]).search(users_BD, 10)[0].all()
    assert len(content) < 0.251 * vectors_ND.nbytes
    content[-1] ^= 1
    with pytest.raises(InputError, match="its vectors are others"):
        BYTES.read(content, vectors_ND, specs[0])
