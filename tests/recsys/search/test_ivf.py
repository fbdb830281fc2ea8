from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from recsys.data.jagged import Jagged
from recsys.search import ivf
from recsys.search.index import ItemIndex
from tests.search_worlds import assert_same, brute_force


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
