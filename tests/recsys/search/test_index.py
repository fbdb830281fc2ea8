"""Legend as in recsys/search/index.py: B users, N items, D dimensions, K answers."""

import json
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path

import faiss
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from recsys.data.jagged import Jagged
from recsys.search import hnsw, index as index_module, ivf, rescoring
from recsys.search.exact_request import QuantizedCatalogue
from recsys.search.faiss_index import IndexSpec, num_gpus
from recsys.search.index import ItemIndex
from recsys.search.recall import recall_at

needs_gpu = pytest.mark.skipif(num_gpus() == 0, reason="this faiss sees no GPU")


def brute_force(vectors_ND, users_BD, k, excluded=None, allowed=None):
    """The contract, one user and one item at a time."""
    positions, scores = [], []
    for row, user in enumerate(users_BD.astype(np.float64)):
        banned = set() if excluded is None else set(excluded[row].tolist())
        eligible = [i for i in range(1, len(vectors_ND)) if i not in banned and (allowed is None or allowed[i])]
        exact = {i: np.float32(np.dot(vectors_ND[i].astype(np.float64), user)) for i in eligible}
        best = sorted(eligible, key=lambda i: (-exact[i], i))[:k]
        positions.append(best + [0] * (k - len(best)))
        scores.append([exact[i] for i in best] + [-np.inf] * (k - len(best)))
    return np.array(positions, np.int32).reshape(-1, k), np.array(scores, np.float32).reshape(-1, k)


def catalogue(num_items, dim=16, seed=0):
    """Clustered vectors whose norms spread, and users near the clusters."""
    rng = np.random.default_rng(seed)
    centre_CD = rng.normal(size=(40, dim)) * np.arange(1, dim + 1) ** -0.5
    item_ND = centre_CD[rng.integers(40, size=num_items)] + 0.4 * rng.normal(size=(num_items, dim))
    item_ND *= rng.lognormal(0, 0.2, (num_items, 1))
    user_BD = centre_CD[rng.integers(40, size=200)] + 0.4 * rng.normal(size=(200, dim))
    return np.vstack([np.full(dim, 9.0), item_ND]).astype(np.float32), user_BD.astype(np.float32)


def tied_catalogue(num_items=600, dim=4, seed=1):
    """Small whole numbers: many equal vectors, equal scores and zero vectors."""
    rng = np.random.default_rng(seed)
    return (rng.integers(-1, 2, (n, dim)).astype(np.float32) for n in (num_items + 1, 20))


@cache
def small_world(kind):
    vectors_ND, users_BD = catalogue(400, dim=8)
    return vectors_ND, users_BD, ItemIndex.build(vectors_ND, kind=kind, target_recall=0.01)


@pytest.fixture(scope="module")
def world():
    return catalogue(6_000)


@pytest.fixture(scope="module")
def indexes(world):
    vectors_ND, users_BD = world
    return {k: ItemIndex.build(vectors_ND, kind=k, query_vectors_BD=users_BD[:100]) for k in ("exact", "hnsw", "ivf")}


def assert_same(found, expected):
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])
    assert (found[0].dtype, found[1].dtype) == (np.int32, np.float32)


@pytest.mark.parametrize("k", [1, 10, 100])
def test_exact_equals_brute_force(world, indexes, k):
    vectors_ND, users_BD = world
    assert_same(indexes["exact"].search(users_BD[:10], k), brute_force(vectors_ND, users_BD[:10], k))


@pytest.mark.parametrize("k", [1, 7, 50])
def test_ties_come_in_position_order(k):
    vectors_ND, users_BD = tied_catalogue()
    assert_same(ItemIndex.build(vectors_ND).search(users_BD, k), brute_force(vectors_ND, users_BD, k))


def test_minus_zero_ties_with_zero():
    vectors_ND = np.array([[0], [-1e-30], [0], [-1e-30]], np.float32)  # the products underflow to -0.0
    positions_BK, _ = ItemIndex.build(vectors_ND).search(np.array([[1e-30]], np.float32), 3)
    assert positions_BK.tolist() == [[1, 2, 3]]


def test_near_ties_are_decided_by_float64():
    """Differences that float32 dot products cannot see, around a boundary that faiss would draw by chance."""
    rng = np.random.default_rng(2)
    vectors_ND = (1 + 1e-7 * rng.normal(size=(2_001, 64))).astype(np.float32)
    users_BD = (100 * rng.normal(size=(6, 64))).astype(np.float32)
    assert_same(ItemIndex.build(vectors_ND).search(users_BD, 10), brute_force(vectors_ND, users_BD, 10))


@pytest.mark.parametrize("kind", ["exact", "hnsw", "ivf"])
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_any_request_keeps_the_promise(kind, data):
    """Exactly the eligible best; from HNSW and IVF as many eligible items, rightly scored and ordered."""
    vectors_ND, users_BD, index = small_world(kind)
    users_BD = users_BD[: data.draw(st.integers(0, 6), "users")]
    k = data.draw(st.integers(1, 40) | st.integers(390, 410), "k")
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1), "seed"))
    rates = data.draw(st.lists(st.sampled_from([0, 5, 60, 600, 4_000]), min_size=6, max_size=6), "excluded draws")
    excluded = Jagged.from_rows([rng.integers(0, 401, rate) for rate in rates[: len(users_BD)]])
    share = data.draw(st.sampled_from([None, 0.0, 0.01, 0.2, 0.4, 0.9]), "allowed share")
    allowed = None if share is None else rng.random(401) < share
    found = index.search(users_BD, k, excluded=excluded, allowed=allowed)
    if kind == "exact":
        assert_same(found, brute_force(vectors_ND, users_BD, k, excluded, allowed))
    ranking_BN, scores_BN = brute_force(vectors_ND, users_BD, 400, excluded, allowed)
    for row in range(len(users_BD)):
        chosen = np.isin(ranking_BN[row], found[0][row]) & (ranking_BN[row] > 0)
        count = min(k, np.count_nonzero(ranking_BN[row]))
        assert found[0][row].tolist() == ranking_BN[row, chosen].tolist() + [0] * (k - count)
        assert found[1][row].tolist() == scores_BN[row, chosen].tolist() + [-np.inf] * (k - count)


@pytest.mark.parametrize("kind", ["exact", "exact by FAISS", "hnsw", "ivf"])
@pytest.mark.parametrize("tied", [False, True])
def test_a_batch_answers_as_its_users_do_alone(world, kind, tied, monkeypatch):
    if kind == "exact by FAISS":  # for a few users, where the CPU does not multiply bytes
        monkeypatch.setattr(QuantizedCatalogue, "pays", lambda dim: False)
        kind = "exact"
    vectors_ND, users_BD = tied_catalogue() if tied else world
    index = ItemIndex.build(vectors_ND[:2_001], kind=kind)
    num_items = len(vectors_ND[:2_001]) - 1
    rng = np.random.default_rng(3)
    excluded = Jagged.from_rows([rng.integers(0, num_items + 1, 2 ** (i % 11)) for i in range(len(users_BD))])
    positions_BK, scores_BK = index.search(users_BD, 20, excluded=excluded)
    for i in range(len(users_BD)):
        alone = index.search(users_BD[i : i + 1], 20, excluded=Jagged.from_rows([excluded[i]]))
        assert_same(alone, (positions_BK[i : i + 1], scores_BK[i : i + 1]))


def test_block_sizes_change_nothing(world, indexes, monkeypatch):
    expected = indexes["exact"].search(world[1], 30)
    monkeypatch.setattr(index_module, "BLOCK_PAIRS", 500)
    monkeypatch.setattr(rescoring, "RESCORE_VALUES", 300)
    assert_same(indexes["exact"].search(world[1], 30), expected)


@pytest.mark.parametrize("num_users", [3, 8], ids=["few", "batch"])
@pytest.mark.parametrize(
    ("item", "user"), [(1e-25, 1), (1, 1e-25), (1, 1e-38), (1e-20, 1e-25), (1e17, 1e17), (1e19, 1e18)]
)
def test_answers_are_exact_at_any_scale(num_users, item, user):
    rng = np.random.default_rng(1)
    vectors_ND = ((rng.standard_normal(32) + 1e-2 * rng.standard_normal((5_001, 32))) * item).astype(np.float32)
    users_BD = (rng.standard_normal((num_users, 32)) * user).astype(np.float32)
    assert_same(ItemIndex.build(vectors_ND, kind="exact").search(users_BD, 10), brute_force(vectors_ND, users_BD, 10))


@pytest.mark.parametrize("kind", ["hnsw", "ivf"])
def test_approximate_indexes_reach_their_recall_on_unseen_users(world, indexes, kind):
    users_BD = world[1][100:]
    oracle_BK, _ = indexes["exact"].search(users_BD, 100)
    assert indexes[kind].spec.recall >= 0.98
    assert recall_at(indexes[kind].search(users_BD, 100)[0], oracle_BK) >= 0.96


@pytest.mark.parametrize(("kind", "parameter"), [("hnsw", "ef_search"), ("ivf", "num_probes")])
def test_a_higher_target_searches_harder(world, kind, parameter):
    vectors_ND, users_BD = world[0][:3_001], world[1]
    low = ItemIndex.build(vectors_ND, kind=kind, target_recall=0.3, query_vectors_BD=users_BD[:100]).spec
    high = ItemIndex.build(vectors_ND, kind=kind, target_recall=0.999, query_vectors_BD=users_BD[:100]).spec
    assert getattr(low, parameter) < getattr(high, parameter)
    assert low.recall < high.recall
    assert (low.target_recall, high.target_recall) == (0.3, 0.999)


def test_an_unreachable_target_records_what_was_reached(world, monkeypatch):
    monkeypatch.setattr(hnsw, "EF_SEARCH_LADDER", (128,))
    spec = ItemIndex.build(world[0][:3_001], kind="hnsw", target_recall=1.0, query_vectors_BD=world[1]).spec
    assert spec.ef_search == 128
    assert 0.5 < spec.recall < 1.0


def test_ivf_reaches_any_target_and_caps_its_lists(monkeypatch):
    monkeypatch.setattr(ivf, "MAX_LISTS", 40)
    vectors_ND = np.random.default_rng(2).standard_normal((3_001, 32)).astype(np.float32)  # no clusters to be found
    spec = ItemIndex.build(vectors_ND, kind="ivf", target_recall=1.0).spec
    assert (spec.recall, spec.num_lists) == (1.0, 40)


@pytest.mark.parametrize("kind", ["hnsw", "ivf"])
def test_filtered_approximate_search_keeps_its_promise(world, indexes, kind):
    vectors_ND, users_BD = world
    rng = np.random.default_rng(4)
    few = np.isin(np.arange(len(vectors_ND)), rng.integers(1, len(vectors_ND), 30))
    found = indexes[kind].search(users_BD[:5], 10, allowed=few)
    assert_same(found, brute_force(vectors_ND, users_BD[:5], 10, allowed=few))
    for user_D in users_BD[:5]:  # half the catalogue, but none of what this user likes: the candidates all fall away
        scores_N = vectors_ND @ user_D
        disliked = scores_N < np.median(scores_N)
        positions_BK, _ = indexes[kind].search(user_D[None], 50, allowed=disliked)
        assert len(set(positions_BK[0].tolist()) - {0}) == 50
        assert disliked[positions_BK[0]].all()


@pytest.mark.parametrize("excludes", [0, 40])
def test_lists_too_short_for_the_answer_are_made_up_by_exact_search(world, indexes, tmp_path: Path, excludes):
    vectors_ND, users_BD = world[0], world[1][:5]
    indexes["ivf"].save(tmp_path / "index.faiss")
    one_list = ItemIndex.load(tmp_path / "index.faiss", vectors_ND, replace(indexes["ivf"].spec, num_probes=1))
    best_BK, _ = indexes["exact"].search(users_BD, 40)
    excluded = Jagged.from_rows(list(best_BK[:, :excludes]))
    found = one_list.search(users_BD, 300, excluded=excluded)
    assert_same(found, brute_force(vectors_ND, users_BD, 300, excluded))


def test_auto_is_exact_until_the_limit(monkeypatch):
    vectors_ND, _ = catalogue(300)
    assert ItemIndex.build(vectors_ND).spec == IndexSpec("exact", recall=1.0, target_recall=0.98)
    monkeypatch.setattr(index_module, "EXACT_LIMIT", 299)
    assert ItemIndex.build(vectors_ND).spec.kind == "ivf"


@pytest.mark.parametrize("kind", ["exact", "hnsw", "ivf"])
def test_save_and_load_round_trip(world, indexes, kind, tmp_path: Path):
    vectors_ND, users_BD = world
    indexes[kind].save(tmp_path / "index.faiss")
    spec = IndexSpec(**json.loads(json.dumps(asdict(indexes[kind].spec))))
    loaded = ItemIndex.load(tmp_path / "index.faiss", vectors_ND, spec)
    assert loaded.spec == indexes[kind].spec
    assert_same(loaded.search(users_BD, 20), indexes[kind].search(users_BD, 20))


@pytest.mark.parametrize("kind", ["exact", "hnsw", "ivf"])
def test_built_twice_gives_the_same_bytes(world, kind, tmp_path: Path):
    for name in "ab":
        ItemIndex.build(world[0][:2_001].copy(), kind=kind, query_vectors_BD=world[1]).save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_load_refuses_what_does_not_belong(world, indexes, tmp_path: Path):
    path = tmp_path / "index.faiss"
    indexes["exact"].save(path)
    with pytest.raises(ValueError, match=r"holds .*6000.*expected .*5999"):
        ItemIndex.load(path, world[0][:-1], IndexSpec("exact"))
    with pytest.raises(ValueError, match=r"IndexFlatIP.*IndexHNSWFlat"):
        ItemIndex.load(path, world[0], indexes["hnsw"].spec)
    path.write_bytes(b"not an index")
    with pytest.raises(ValueError, match="not a readable faiss index"):
        ItemIndex.load(path, world[0], IndexSpec("exact"))


def test_searching_leaves_the_thread_setting_alone(world, indexes):
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(2)
    try:
        for batch in (1, 50):
            indexes["hnsw"].search(world[1][:batch], 10)
            assert faiss.omp_get_max_threads() == 2
        ItemIndex.build(world[0][:501], kind="ivf")
        assert faiss.omp_get_max_threads() == 2
    finally:
        faiss.omp_set_num_threads(before)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"users_BD": np.zeros(16, np.float32)}, "shape"),
        ({"users_BD": np.full((1, 16), np.nan, np.float32)}, "nan"),
        ({"k": 0}, "at least 1"),
        ({"excluded": Jagged.from_rows([[1], [2]])}, "2 rows"),
        ({"excluded": Jagged.from_rows([[6_001]])}, "0 to 6000"),
        ({"excluded": Jagged.from_rows([[-1]])}, "-1"),
        ({"allowed": np.ones(6_000, bool)}, "allowed"),
    ],
)
def test_bad_requests_are_refused(world, indexes, request_, message):
    arguments = {"users_BD": world[1][:1], "k": 5} | request_
    with pytest.raises(ValueError, match=message):
        indexes["exact"].search(arguments.pop("users_BD"), arguments.pop("k"), **arguments)


@pytest.mark.parametrize(
    ("vectors_ND", "options", "message"),
    [
        (np.ones((3, 2)), {}, "float64"),
        (np.ones((2, 3), np.float32).T, {}, "C-contiguous"),
        (np.ones((1, 2), np.float32), {}, "no items"),
        (np.full((3, 2), np.inf, np.float32), {}, "inf"),
        (np.ones((3, 2), np.float32), {"kind": "annoy"}, "annoy"),
        (np.ones((3, 2), np.float32), {"target_recall": 95}, "target_recall"),
        (np.ones((3, 2), np.float32), {"device": "gpu"}, "cpu, cuda or auto"),
        (np.ones((3, 2), np.float32), {"query_vectors_BD": np.ones((0, 2), np.float32)}, "no rows"),
    ],
)
def test_bad_builds_are_refused(vectors_ND, options, message):
    with pytest.raises(ValueError, match=message):
        ItemIndex.build(vectors_ND, **options)


@pytest.mark.skipif(num_gpus() > 0, reason="this faiss has a GPU")
def test_cuda_without_a_gpu_is_an_error_and_auto_is_not(world):
    with pytest.raises(ValueError, match=r"sees no GPU.*'auto' or 'cpu'"):
        ItemIndex.build(world[0], device="cuda")
    with pytest.raises(ValueError, match="sees no GPU"):
        ItemIndex.build(world[0], kind="hnsw", device="cuda")
    assert ItemIndex.build(world[0], device="auto").search(world[1], 5)[0].all()


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("k", [10, 1_000, 3_000])
def test_gpu_exact_equals_cpu_exact(world, indexes, k):
    on_gpu = ItemIndex.build(world[0], device="cuda")
    assert_same(on_gpu.search(world[1], k), indexes["exact"].search(world[1], k))


@pytest.mark.gpu
@needs_gpu
def test_gpu_ivf_keeps_its_recall(world, indexes, tmp_path: Path):
    indexes["ivf"].save(tmp_path / "index.faiss")
    on_gpu = ItemIndex.load(tmp_path / "index.faiss", world[0], indexes["ivf"].spec, device="cuda")
    oracle_BK, _ = indexes["exact"].search(world[1][100:], 100)
    assert recall_at(on_gpu.search(world[1][100:], 100)[0], oracle_BK) >= 0.93


def test_recall_by_hand():
    exact_BK = np.array([[1, 2, 3, 4], [5, 6, 0, 0]], np.int32)
    assert recall_at(np.array([[4, 9, 1, 8], [6, 5, 0, 0]], np.int32), exact_BK) == 0.75
    assert recall_at(np.array([[5, 6, 0, 0], [1, 2, 3, 4]], np.int32), exact_BK) == 0.0
