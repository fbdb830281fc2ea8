"""Geometry in closed form: collapsed, orthogonal, opposite and planted spaces."""

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest

from training import validation
from training.evaluation import EvaluationRecord, geometry

EARLIER = Path(__file__).parent / "earlier_release"  # the records of a demo


def rng():
    return np.random.default_rng(0)


def test_alignment_in_closed_form():
    x = np.eye(4)
    assert geometry.alignment(x, 3 * x) == 0  # length does not matter
    assert geometry.alignment(x, np.roll(x, 1, axis=0)) == pytest.approx(2)
    assert geometry.alignment(x, -x) == pytest.approx(4)


def test_uniformity_in_closed_form():
    assert geometry.uniformity(np.outer(np.arange(1.0, 9.0), np.ones(3)), rng()) == pytest.approx(0)
    assert geometry.uniformity(np.eye(6), rng()) == pytest.approx(-4)
    assert geometry.uniformity(np.array([[1.0, 0], [-1, 0]]), rng()) == pytest.approx(-8)


def test_uniformity_estimates_the_mean_over_all_pairs():
    vectors = rng().normal(size=(40, 3))
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    pairs = [math.exp(-2 * float(((x - y) ** 2).sum())) for i, x in enumerate(unit) for y in unit[:i]]
    assert geometry.uniformity(vectors, rng()) == pytest.approx(math.log(sum(pairs) / len(pairs)), abs=0.02)


def test_occurrences_are_brute_force(monkeypatch):
    users, items = rng().normal(size=(30, 5)), rng().normal(size=(20, 5)) + 0.1
    vectors = np.concatenate([np.full((1, 5), 99.0), items])
    expected = np.zeros(20, int)
    for user in users:
        for item in sorted(range(20), key=lambda row: -float(user @ items[row]))[:4]:
            expected[item] += 1
    assert geometry.occurrences(users, vectors, 4).tolist() == expected.tolist()
    monkeypatch.setattr(validation, "ITEMS_AT_ONCE", 7)
    assert geometry.occurrences(users, vectors, 4).tolist() == expected.tolist()
    assert geometry.occurrences(users, vectors, 99).tolist() == [30] * 20


def test_skewness_in_closed_form():
    assert geometry.skewness(np.full(5, 3)) == 0
    assert geometry.skewness(np.array([1, 2, 3])) == pytest.approx(0)
    hub = np.zeros(100)
    hub[7] = 1  # Bernoulli with p = 1/100: (1 - 2p) / sqrt(p (1 - p))
    assert geometry.skewness(hub) == pytest.approx(0.98 / math.sqrt(0.01 * 0.99))


def test_correlation_ignores_rounding():
    x = rng().random(50)
    assert geometry.correlation(x, -2 * x + 1) == pytest.approx(-1)
    assert geometry.correlation((1 + 1e-7 * x).astype(np.float32), x) == 0
    assert geometry.correlation(np.zeros(3), np.ones(3)) == 0


def test_effective_rank_in_closed_form():
    assert geometry.effective_rank(5 * np.eye(6)) == pytest.approx(6)
    assert geometry.effective_rank(np.outer(np.arange(9.0), np.ones(4))) == pytest.approx(1)
    assert geometry.effective_rank(np.zeros((5, 3))) == 0
    share = np.array([3, 1]) / 4
    expected = math.exp(-float(share @ np.log(share)))
    assert geometry.effective_rank(np.diag([3.0, 1.0])) == pytest.approx(expected)


def space(num_items=300, num_users=400, dim=8):
    items = rng().normal(size=(num_items + 1, dim)).astype(np.float32)
    targets = rng().integers(0, num_items + 1, num_users)
    counts = np.rint(np.exp(np.linalg.norm(items, axis=1)) * 10).astype(np.int64)
    return items, items[targets] + 0.1, targets, counts


def test_measure_of_a_planted_space():
    items, users, targets, counts = space()
    actual = geometry.measure(items, users, targets, counts, seed=0)[0]
    norms = np.linalg.norm(items[1:], axis=1)
    assert actual.alignment < 0.05
    assert actual.norm_popularity_correlation > 0.99
    assert actual.item_norm_mean == pytest.approx(norms.mean())
    assert actual.item_norm_std == pytest.approx(norms.std())
    assert 7 < actual.effective_rank <= 8
    assert actual.hubness > 1  # by inner product long items fill the lists
    assert actual.item_uniformity < -2
    assert json.loads(json.dumps(dataclasses.asdict(actual))) == dataclasses.asdict(actual)


def test_measure_of_a_collapsed_space():
    _, _, targets, counts = space()
    actual = geometry.measure(np.ones((301, 8)), np.ones((400, 8)), targets, counts, seed=0)[0]
    assert actual.effective_rank == pytest.approx(1, abs=1e-3)
    assert [actual.alignment, actual.item_uniformity, actual.user_uniformity] == pytest.approx([0, 0, 0], abs=1e-6)
    assert actual.norm_popularity_correlation == 0


def test_gap_in_closed_form():
    x = np.eye(4)
    assert geometry.gap(x, 5 * x) == 0
    assert geometry.gap(np.ones((3, 4)), -2 * np.ones((9, 4))) == pytest.approx(2)
    assert geometry.gap(x[:2], x[2:]) == pytest.approx(1)  # 4 coordinates of a half


def measured(items, users, scale=1.0):
    counts = np.ones(len(items) + 1, np.int64)
    vectors = scale * np.concatenate([np.zeros_like(items[:1]), items])
    targets = rng().integers(1, len(vectors), len(users))
    return geometry.measure(vectors, users / scale, targets, counts, seed=0)[0]


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_a_collapsed_space_is_named_whatever_the_lengths(scale):
    noise = rng().normal(size=(300, 8))
    same, spread = np.ones(8) + 0.2 * noise, np.ones(8) + noise
    assert geometry.collapsed(measured(spread, spread, scale), 8) is None
    assert geometry.collapsed(measured(same, spread, scale), 8) == "all items point nearly the same way"
    assert geometry.collapsed(measured(spread, same, scale), 8) == "all users point nearly the same way"
    flat = noise * [1, 1e-3, 1e-3, 1e-3, 1e-3, 1e-3, 1e-3, 1e-3]  # in two directions, one opposite to the other
    assert geometry.collapsed(measured(flat, spread, scale), 8) == "the items use few of its dimensions"


def test_a_few_items_that_use_all_they_can_have_not_collapsed():
    assert geometry.collapsed(measured(np.eye(5, 64), rng().normal(size=(9, 64))), 5) is None


def test_the_demo_has_not_collapsed():
    figures = EvaluationRecord.read(EARLIER).geometry
    assert figures.gap is None  # it is older than this figure
    assert geometry.collapsed(figures, 128) is None


def test_measure_ignores_row_zero_and_unknown_targets():
    items, users, targets, counts = space()
    actual = geometry.measure(items, users, targets, counts, seed=0)[0]
    assert (targets == 0).any()
    items[0], counts[0] = -1000 * items[0], 10**9
    assert geometry.measure(items, users, targets, counts, seed=0)[0] == actual


def test_measure_is_seeded_and_bounded(monkeypatch):
    arguments = space()
    whole = geometry.measure(*arguments, seed=0)[0]
    assert geometry.measure(*arguments, seed=0)[0] == whole
    assert geometry.measure(*arguments, seed=1)[0] != whole
    monkeypatch.setattr(geometry, "NUM_ROWS", 50)
    monkeypatch.setattr(geometry, "NUM_USERS", 50)
    sampled = geometry.measure(*arguments, seed=0)[0]
    assert sampled.hubness != whole.hubness
    assert sampled.effective_rank == pytest.approx(whole.effective_rank, abs=0.5)


@pytest.mark.parametrize(("num_items", "num_users", "target"), [(1, 5, 1), (5, 1, 1), (5, 5, 0)])
def test_measure_refuses_too_little(num_items, num_users, target):
    with pytest.raises(ValueError, match="geometry needs"):
        geometry.measure(
            np.ones((num_items + 1, 2)),
            np.ones((num_users, 2)),
            np.full(num_users, target),
            np.ones(num_items + 1),
            seed=0,
        )


def planted_groups(num_items=90):
    group = np.arange(num_items + 1) % 3
    return group, (np.eye(3, 16)[group] * 5 + rng().normal(size=(num_items + 1, 16)) * 0.3).astype(np.float32)


def test_map_keeps_groups_together():
    group, vectors = planted_groups()
    positions, xy = geometry.map_2d(vectors, seed=0)
    assert positions.tolist() == list(range(1, 91))
    assert xy.shape == (90, 2)
    distance = np.linalg.norm(xy[:, None] - xy[None], axis=2)
    np.fill_diagonal(distance, np.inf)
    assert (group[positions][distance.argmin(axis=1)] == group[positions]).all()


def test_map_samples_by_seed():
    _, vectors = planted_groups()
    first, first_xy = geometry.map_2d(vectors, seed=0, num_items=30)
    again, again_xy = geometry.map_2d(vectors, seed=0, num_items=30)
    other, _ = geometry.map_2d(vectors, seed=1, num_items=30)
    assert len(set(first.tolist())) == 30
    assert first.min() > 0
    assert (first == again).all()
    assert (first_xy == again_xy).all()
    assert first.tolist() != other.tolist()


def test_map_of_a_collapsed_space_is_a_dot():
    _, xy = geometry.map_2d(np.ones((21, 4), np.float32), seed=0)
    assert np.ptp(xy) == pytest.approx(0, abs=1e-3)


def test_map_refuses_too_few_items():
    with pytest.raises(ValueError, match="found 3"):
        geometry.map_2d(np.ones((4, 3)), seed=0)
