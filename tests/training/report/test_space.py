from dataclasses import replace

import numpy as np
import pytest

from recsys.search import IndexSpec
from training.report import space


def test_shares_by_tenth_of_the_items():
    counts = np.array([99, *range(20, 0, -1)])  # position 0 never counts
    shown = np.zeros(21, np.int64)
    shown[[1, 20]] = 3, 1
    assert space.by_decile(shown, counts) == [0.75, *[0.0] * 8, 0.25]
    assert space.by_decile(counts, counts)[0] == pytest.approx(39 / 210)
    assert space.by_decile(np.zeros(21, np.int64), counts) == [0.0] * 10


def test_an_approximate_index_says_whether_it_reached_its_target():
    reached = space.index_of(IndexSpec("hnsw", recall=0.97, target_recall=0.95, m=32), 10**6)
    assert "target 0.95, reached" in reached
    assert "links per item" in reached
    assert "lists probed" not in reached
    missed = space.index_of(IndexSpec("hnsw", recall=0.9, target_recall=0.95, m=32), 10**6)
    assert "NOT reached: <code>--set index.kind=exact</code>" in missed


def test_an_exact_index_has_no_parameters():
    exact = space.index_of(IndexSpec("exact", recall=1.0, target_recall=0.98), 30)
    assert exact == "<p>Exact search over 30 items: every answer is the true top k (recall 1).</p>"


def test_popularity_shares_are_of_the_whole(inputs):
    shares, num_queries = space.popularity_shares(inputs)
    assert num_queries == 60
    for values in shares.values():
        assert sum(values) == pytest.approx(1)
    assert shares["training events"] == sorted(shares["training events"], reverse=True)


def test_records_of_an_earlier_release_lack_the_gap_and_the_drawings(good):
    figures = good.evaluation.geometry
    assert "gap between users and items" in space.readings(figures, 16, 0.9)
    assert "gap between users and items" not in space.readings(replace(figures, gap=None), 16, 0.9)
    assert "these records are of an earlier release" in space.geometry(replace(good, sketch=None))


def test_the_gap_says_what_it_is_of_the_alignment(good):
    for gap, reading in (
        (0.1, "lie in one cloud; 0.01 of"),
        (0.5, "overlap; 0.25 of"),
        (1.2, "apart from each other; 1.44"),
    ):
        assert reading in space.readings(replace(good.evaluation.geometry, gap=gap), 16, 0.9)


def test_a_figure_is_read_by_its_limits():
    words = ("low", "middle", "high")
    assert [space.step(value, (1.0, 2.0), words) for value in (0.9, 1.0, 2.0)] == ["low", "middle", "high"]
