"""Choices equal those of a greedy oracle that looks at every candidate at every step."""

import numpy as np
import polars as pl
import pytest

from recsys.answers import Limits, choose, require_diversity
from recsys.errors import InputError
from recsys.search import unit_rows


def oracle(scores, k, values_of, most, diversity, vectors):
    """values_of: for each limit, a list of values for every candidate."""
    spread = scores.max() - scores.min()
    relevance = (scores - scores.min()) / spread if spread else np.zeros_like(scores)
    chosen = []
    while len(chosen) < k:
        best, best_value = None, -np.inf
        for candidate in range(len(scores)):
            if candidate in chosen:
                continue
            kept = all(
                sum(value in values[other] for other in chosen) < limit
                for values, limit in zip(values_of, most, strict=True)
                for value in values[candidate]
            )
            similar = max((float(vectors[candidate] @ vectors[other]) for other in chosen), default=0.0)
            value = (1 - diversity) * relevance[candidate] - diversity * similar
            if kept and value > best_value + 1e-6:
                best, best_value = candidate, value
        if best is None:
            break
        chosen.append(best)
    return chosen


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("diversity", [0.0, 0.3, 0.9])
def test_choices_equal_the_oracle_s(seed, diversity):
    rng = np.random.default_rng(seed)
    num_items, k = 60, 12
    brands = [None if rng.random() < 0.1 else f"b{rng.integers(6)}" for _ in range(num_items)]
    tags = [rng.choice(8, size=rng.integers(0, 3), replace=False).tolist() for _ in range(num_items)]
    items = pl.DataFrame({"brand": brands, "tags": pl.Series(tags, dtype=pl.List(pl.Int64))})
    per = [{}, {"brand": 2}, {"brand": 1, "tags": 3}][seed % 3]
    positions = rng.permutation(num_items)[:40].astype(np.int32) + 1
    scores = np.sort(rng.normal(size=40).astype(np.float32))[::-1]
    vectors = unit_rows(rng.normal(size=(40, 8)).astype(np.float32))
    columns = {"brand": [[] if brand is None else [brand] for brand in brands], "tags": tags}
    values_of = [[columns[name][position - 1] for position in positions] for name in per]
    chosen = choose(positions, scores, k, Limits(items).of(per), diversity, vectors)
    assert chosen.tolist() == oracle(scores, k, values_of, list(per.values()), diversity, vectors)


def test_equal_scores_and_no_candidates_are_fine():
    vectors = np.eye(3, dtype=np.float32)
    assert choose(np.arange(1, 4, dtype=np.int32), np.ones(3, np.float32), 2, [], 0.5, vectors).tolist() == [0, 1]
    none = np.empty(0, np.int32), np.empty(0, np.float32), 2
    assert not len(choose(*none, [], 0.5, vectors[:0]))
    assert not len(choose(*none, Limits(pl.DataFrame({"a": [1]})).of({"a": 1})))


@pytest.mark.parametrize("per", [{"colour": 1}, {"brand": 0}, {"brand": True}, {"brand": 1.5}, ["brand"], {1: 1}])
def test_bad_limits_are_one_line(per):
    with pytest.raises(InputError, match="per"):
        Limits(pl.DataFrame({"brand": ["a"]})).of(per)


@pytest.mark.parametrize("diversity", [-0.1, 1, float("nan"), "much", True, None])
def test_bad_diversity_is_one_line(diversity):
    with pytest.raises(InputError, match="diversity"):
        require_diversity(diversity)
    assert require_diversity(0.5) == 0.5


def test_a_limit_by_dates_and_by_structs():
    dates = pl.DataFrame({"day": pl.date_range(pl.date(2026, 1, 1), pl.date(2026, 1, 3), eager=True)})
    assert len(Limits(dates).of({"day": 1})[0].codes) == 4
    with pytest.raises(InputError, match="expected text"):
        Limits(pl.DataFrame({"size": [{"w": 1}]})).of({"size": 1})
