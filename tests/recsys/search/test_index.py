"""Legend as in recsys/search/index.py: B users, N items, D dimensions, K answers."""

import json
from dataclasses import asdict
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from recsys.data.jagged import Jagged
from recsys.search import index as index_module, index_kinds, rescoring
from recsys.search.exact_request import QuantizedCatalogue
from recsys.search.index import ItemIndex
from recsys.search.index_kinds import KINDS
from recsys.search.index_spec import IndexSpec
from recsys.search.recall import recall_at
from tests.search_worlds import assert_same, brute_force, catalogue, tied_catalogue


@cache
def small_world(kind):
    vectors_ND, users_BD = catalogue(400, dim=8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index_module, "FEWEST_CODED", 1)
        return vectors_ND, users_BD, ItemIndex.build(vectors_ND, kind=kind, target_recall=0.01)


@pytest.mark.parametrize("k", [1, 10, 100])
def test_exact_equals_brute_force(world, indexes, k):
    vectors_ND, users_BD = world
    assert_same(indexes["exact"].search(users_BD[:10], k), brute_force(vectors_ND, users_BD[:10], k))


@pytest.mark.parametrize("k", [1, 7, 50])
def test_ties_come_in_position_order(k):
    vectors_ND, users_BD = tied_catalogue()
    assert_same(ItemIndex.build(vectors_ND).search(users_BD, k), brute_force(vectors_ND, users_BD, k))


def test_near_ties_are_decided_by_float64():
    """Differences that float32 dot products cannot see, around a k-th place that FAISS would fill at random."""
    rng = np.random.default_rng(2)
    vectors_ND = (1 + 1e-7 * rng.normal(size=(2_001, 64))).astype(np.float32)
    users_BD = (100 * rng.normal(size=(6, 64))).astype(np.float32)
    assert_same(ItemIndex.build(vectors_ND).search(users_BD, 10), brute_force(vectors_ND, users_BD, 10))


@pytest.mark.parametrize("kind", list(KINDS))
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_any_request_gets_the_best_eligible_items(kind, data):
    """An exact index returns the best; HNSW and IVF as many eligible items, with the right scores and order."""
    vectors_ND, users_BD, index = small_world(kind)
    users_BD = users_BD[: data.draw(st.integers(0, 6), "users")]
    k = data.draw(st.integers(1, 40) | st.integers(390, 410), "k")
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1), "seed"))
    rates = data.draw(st.lists(st.sampled_from([0, 5, 60, 600, 4_000]), min_size=6, max_size=6), "excluded draws")
    excluded = Jagged.from_rows([rng.integers(0, 401, rate) for rate in rates[: len(users_BD)]])
    share = data.draw(st.sampled_from([None, 0.0, 0.01, 0.2, 0.4, 0.9]), "allowed share")
    allowed = None if share is None else rng.random(401) < share
    positions_BK, scores_BK = index.search(users_BD, k, excluded=excluded, allowed=allowed)
    if kind == "exact":
        assert_same((positions_BK, scores_BK), brute_force(vectors_ND, users_BD, k, excluded, allowed))
    ranking_BN, scores_BN = brute_force(vectors_ND, users_BD, 400, excluded, allowed)
    for row in range(len(users_BD)):
        chosen = np.isin(ranking_BN[row], positions_BK[row]) & (ranking_BN[row] > 0)
        count = min(k, np.count_nonzero(ranking_BN[row]))
        assert positions_BK[row].tolist() == ranking_BN[row, chosen].tolist() + [0] * (k - count)
        assert scores_BK[row].tolist() == scores_BN[row, chosen].tolist() + [-np.inf] * (k - count)


@pytest.mark.parametrize("kind", ["exact", "exact by FAISS", "bytes", "hnsw", "ivf", "codes"])
@pytest.mark.parametrize("tied", [False, True])
def test_a_user_gets_the_same_answer_alone_and_in_a_batch(world, kind, tied, monkeypatch):
    if kind == "exact by FAISS":  # as for a few users on a CPU that does not multiply bytes
        monkeypatch.setattr(QuantizedCatalogue, "pays", lambda dim, has_codes=False: False)
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


def test_block_sizes_change_no_answer(world, indexes, monkeypatch):
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


@pytest.mark.parametrize("kind", ["hnsw", "ivf", "codes"])
def test_approximate_indexes_reach_their_recall_on_unseen_users(world, indexes, kind):
    users_BD = world[1][100:]
    oracle_BK, _ = indexes["exact"].search(users_BD, 100)
    assert indexes[kind].spec.recall >= 0.98
    assert recall_at(indexes[kind].search(users_BD, 100)[0], oracle_BK) >= 0.96


@pytest.mark.parametrize(("kind", "parameter"), [("hnsw", "ef_search"), ("ivf", "num_probes")])
def test_a_higher_target_recall_takes_a_more_thorough_setting(world, kind, parameter):
    vectors_ND, users_BD = world[0][:3_001], world[1]
    low = ItemIndex.build(vectors_ND, kind=kind, target_recall=0.3, query_vectors_BD=users_BD[:100]).spec
    high = ItemIndex.build(vectors_ND, kind=kind, target_recall=0.999, query_vectors_BD=users_BD[:100]).spec
    assert getattr(low, parameter) < getattr(high, parameter)
    assert low.recall < high.recall
    assert (low.target_recall, high.target_recall) == (0.3, 0.999)


@pytest.mark.parametrize("kind", ["hnsw", "ivf", "codes"])
def test_filtered_approximate_search_returns_as_many_as_asked(world, indexes, kind):
    vectors_ND, users_BD = world
    rng = np.random.default_rng(4)
    few = np.isin(np.arange(len(vectors_ND)), rng.integers(1, len(vectors_ND), 30))
    answers = indexes[kind].search(users_BD[:5], 10, allowed=few)
    assert_same(answers, brute_force(vectors_ND, users_BD[:5], 10, allowed=few))
    for user_D in users_BD[:5]:  # half the catalogue, without what this user likes: no first candidate is eligible
        scores_N = vectors_ND @ user_D
        disliked = scores_N < np.median(scores_N)
        positions_BK, _ = indexes[kind].search(user_D[None], 50, allowed=disliked)
        assert len(set(positions_BK[0].tolist()) - {0}) == 50
        assert disliked[positions_BK[0]].all()


def test_auto_is_exact_until_the_limit(monkeypatch):
    vectors_ND, _ = catalogue(300)
    assert ItemIndex.build(vectors_ND).spec == IndexSpec("exact", recall=1.0, target_recall=0.98)
    monkeypatch.setattr(index_kinds, "EXACT_LIMIT", 299)
    assert ItemIndex.build(vectors_ND).spec.kind == "ivf"
    monkeypatch.setattr(index_kinds, "FULL_LIMIT", vectors_ND.nbytes - 1)
    monkeypatch.setattr(index_module, "FEWEST_CODED", 300)
    assert ItemIndex.build(vectors_ND).spec.kind == "codes"
    monkeypatch.setattr(index_module, "FEWEST_CODED", 301)
    assert ItemIndex.build(vectors_ND, kind="codes").spec.kind == "bytes"


@pytest.mark.parametrize("kind", list(KINDS))
def test_save_and_load_round_trip(world, indexes, kind, tmp_path: Path):
    vectors_ND, users_BD = world
    indexes[kind].save(tmp_path / "index.faiss")
    spec = IndexSpec(**json.loads(json.dumps(asdict(indexes[kind].spec))))
    loaded = ItemIndex.load(np.fromfile(tmp_path / "index.faiss", np.uint8), vectors_ND, spec)
    assert loaded.spec == indexes[kind].spec
    assert_same(loaded.search(users_BD, 20), indexes[kind].search(users_BD, 20))


@pytest.mark.parametrize("kind", list(KINDS))
def test_built_twice_gives_the_same_bytes(world, kind, tmp_path: Path):
    for name in "ab":
        ItemIndex.build(world[0][:2_001].copy(), kind=kind, query_vectors_BD=world[1]).save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_load_refuses_a_file_of_another_catalogue_or_kind(world, indexes, tmp_path: Path):
    path = tmp_path / "index.faiss"
    indexes["exact"].save(path)
    content = np.fromfile(path, np.uint8)
    with pytest.raises(ValueError, match="its header does not fit the item vectors"):
        ItemIndex.load(content, world[0][:-1], IndexSpec("exact"))
    with pytest.raises(ValueError, match="its header does not fit the item vectors"):
        ItemIndex.load(content, world[0], indexes["hnsw"].spec)
    with pytest.raises(ValueError, match="its vectors are others"):
        ItemIndex.load(content, -world[0], IndexSpec("exact"))
    with pytest.raises(ValueError, match="it ends too early"):
        ItemIndex.load(content[:20], world[0], IndexSpec("exact"))
    with pytest.raises(ValueError, match="it goes on after its end"):
        ItemIndex.load(np.append(content, content), world[0], IndexSpec("exact"))
    with pytest.raises(ValueError, match="index kind is 'scann', expected one of exact, bytes, hnsw, ivf, codes"):
        ItemIndex.load(content, world[0], IndexSpec("scann"))
