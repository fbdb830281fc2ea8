from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from recsys.data.jagged import Jagged
from recsys.errors import InputError
from recsys.search import ivf
from recsys.search.index import ItemIndex
from recsys.search.recall import recall_at
from tests.search_worlds import assert_same, brute_force, catalogue


def test_ivf_reaches_any_target_and_caps_its_lists(monkeypatch):
    monkeypatch.setattr(ivf, "MAX_LISTS", 40)
    vectors_ND = np.random.default_rng(2).standard_normal((3_001, 32)).astype(np.float32)  # without clusters
    spec = ItemIndex.build(vectors_ND, kind="ivf", target_recall=1.0).spec
    assert (spec.recall, spec.num_lists) == (1.0, 40)


@pytest.mark.parametrize("excludes", [0, 40])
def test_exact_search_completes_answers_that_the_probed_lists_leave_short(world, indexes, tmp_path: Path, excludes):
    vectors_ND, users_BD = world[0], world[1][:5]
    indexes["ivf"].save(tmp_path / "index.faiss")
    content = np.fromfile(tmp_path / "index.faiss", np.uint8)
    one_list = ItemIndex.load(content, vectors_ND, replace(indexes["ivf"].spec, num_probes=1))
    best_BK, _ = indexes["exact"].search(users_BD, 40)
    excluded = Jagged.from_rows(list(best_BK[:, :excludes]))
    answers = one_list.search(users_BD, 300, excluded=excluded)
    assert_same(answers, brute_force(vectors_ND, users_BD, 300, excluded))


def test_codes_take_at_most_a_sixth_reach_the_recall_and_ask_users_alone(tmp_path):
    vectors_ND, users_BD = catalogue(40_000, dim=64)
    index = ItemIndex.build(vectors_ND, kind="codes", query_vectors_BD=users_BD[:100])
    index.save(tmp_path / "index.faiss")
    assert (tmp_path / "index.faiss").stat().st_size <= vectors_ND.nbytes / 6
    exact = ItemIndex.build(vectors_ND, kind="exact")
    positions_BK, scores_BK = index.search(users_BD[100:], 100)
    exact_BK, exact_scores_BK = exact.search(users_BD[100:], 100)
    assert recall_at(positions_BK, exact_BK) >= 0.97
    same = positions_BK == exact_BK
    assert same.any()
    np.testing.assert_array_equal(scores_BK[same], exact_scores_BK[same])
    for row in range(20):
        assert_same(index.search(users_BD[100 + row : 101 + row], 100), (positions_BK[[row]], scores_BK[[row]]))


def test_no_list_of_codes_holds_an_item_twice_or_another(tmp_path):
    vectors_ND, _ = catalogue(2_000)
    index = ItemIndex.build(vectors_ND, kind="codes")
    index.save(tmp_path / "index.faiss")
    content = np.fromfile(tmp_path / "index.faiss", np.uint8)
    start = content.tobytes().index(b"ilbl") + 4 + 32
    size = int(content[start : start + 8].view("<u8")[0])
    ids = content[start + 8 : start + 8 * (size + 1)].view("<i8")
    for changed, fault in ((ids[1], "in no list, or in two"), (2_000, "names an item that there is not"), (-1, "not")):
        before = ids[0]
        ids[0] = changed
        with pytest.raises(InputError, match=fault):
            ItemIndex.load(content, vectors_ND, index.spec)
        ids[0] = before
    assert ItemIndex.load(content, vectors_ND, index.spec)
    for spec in (replace(index.spec, overfetch=2_000), replace(index.spec, num_probes=0)):
        with pytest.raises(InputError, match=r"model\.json asks for"):
            ItemIndex.load(content, vectors_ND, spec)
