import math
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import torch

from recsys import metrics
from recsys.data.jagged import Jagged
from recsys.errors import InputError
from tests.small_trainings import TINY
from training import validation
from training.loop import train
from training.validation import ValidationSet, best_setting, rank, validation_set, wants_unseen

D = 4


def world(num_items=30, num_users=25, seed=0):
    rng = np.random.default_rng(seed)
    items = torch.from_numpy(rng.normal(size=(num_items + 1, D)))
    users = torch.from_numpy(rng.normal(size=(num_users, D)))
    history = [rng.integers(0, num_items + 1, rng.integers(0, 12)) for _ in range(num_users)]
    targets = [rng.choice(num_items, size=rng.integers(1, 15), replace=False) + 1 for _ in range(num_users)]
    return users, items, history, targets


def ranked_by_hand(user, items, history, k):
    """Positions by descending score, one product at a time."""
    scores = {}
    for position in range(1, len(items)):
        if position not in history:
            scores[position] = sum(float(a) * float(b) for a, b in zip(user, items[position], strict=True))
    best = sorted(scores, key=lambda position: -scores[position])[:k]
    return best + [0] * (k - len(best))


@pytest.mark.parametrize(("items_at_once", "scores_at_once"), [(1, 1), (7, 100), (1 << 16, 1 << 25)])
@pytest.mark.parametrize("k", [1, 10, 40])
def test_ranking_equals_an_oracle_of_loops(k, items_at_once, scores_at_once, monkeypatch):
    monkeypatch.setattr(validation, "ITEMS_AT_ONCE", items_at_once)
    monkeypatch.setattr(validation, "SCORES_AT_ONCE", scores_at_once)
    users, items, history, _ = world()
    actual = rank(users, items, Jagged.from_rows(history), k)
    assert actual.dtype == np.int32
    for row, positions in enumerate(actual.tolist()):
        assert positions == ranked_by_hand(users[row], items, set(history[row].tolist()), k)


def test_a_target_in_the_history_is_never_a_hit_even_if_no_other_item_is_left():
    users, items = torch.ones(2, D), torch.ones(4, D)
    actual = rank(users, items, Jagged.from_rows([[1, 2], [1, 2, 3]]), 10)
    assert actual.tolist() == [[3] + [0] * 9, [0] * 10]
    assert not metrics.hits(actual, Jagged.from_rows([[1], [3]])).any()


def test_the_score_is_the_mean_ndcg(monkeypatch):
    """Queries have several targets, among them one that is unknown, one in the history, and one that repeats."""
    users, items, history, targets = world()
    targets[0] = np.array([3, 0, 5, 5])
    targets[1] = history[1] = np.array([7, 7])
    monkeypatch.setattr(validation, "encode_catalogue", lambda *_: items)
    monkeypatch.setattr(validation, "encode_histories", lambda *_: users)
    queries = ValidationSet(Jagged.from_rows(history), Jagged.from_rows(targets), np.zeros(len(history), np.int64))
    loader = SimpleNamespace(item_features=None, user_features=None)
    actual = validation.score(None, queries, loader, len(items) - 1, torch.device("cpu"))
    total = 0.0
    for row in range(len(history)):
        ranked = ranked_by_hand(users[row], items, set(history[row].tolist()), 10)
        wanted = {int(target) for target in targets[row] if target}
        count = len(wanted) + sum(int(target == 0) for target in targets[row])
        gain = sum(1 / math.log2(rank_from_0 + 2) for rank_from_0, item in enumerate(ranked) if item in wanted)
        total += gain / sum(1 / math.log2(rank_from_0 + 2) for rank_from_0 in range(min(10, count)))
    assert actual == pytest.approx(total / len(history), abs=1e-12)
    assert 0 < actual < 1


def test_the_validation_set_holds_the_queries_or_a_sample_of_them(build_dataset, cyclic_events, monkeypatch):
    _, dataset = build_dataset(
        cyclic_events(num_users=30), users=pl.DataFrame({"user_id": [7, 3, 99], "country": ["a", "b", "c"]}),
        features={"user": [{"name": "country", "kind": "categorical"}]},
    )  # fmt: skip
    table = dataset.queries("validation")
    queries = validation_set(dataset, seed=0)
    assert len(queries.history) == len(queries.targets) == table.height == 30
    known = dataset.users().get_column("user_id").to_list()
    for row, (user, history, targets) in enumerate(table.select("user_id", "history", "targets").iter_rows()):
        assert dataset.encoder.ids(queries.history[row]).to_list() == history
        assert dataset.encoder.ids(queries.targets[row]).to_list() == targets
        assert queries.user_rows[row] == (known.index(user) + 1 if user in known else 0)
    assert (queries.user_rows > 0).sum() == 2
    monkeypatch.setattr(validation, "MAX_QUERIES", 12)
    few, again, others = (validation_set(dataset, seed=seed) for seed in (0, 0, 1))
    assert len(few.history) == len(few.targets) == len(few.user_rows) == 12
    np.testing.assert_array_equal(few.targets.values, again.targets.values)
    assert few.targets.values.tolist() != others.targets.values.tolist()


def test_pairs_are_validated_on_items_that_training_has_not_seen():
    counts = np.array([0, 5, 0, 3, *[0] * 20])
    many = Jagged.from_rows([[1], [2], [3, 4], [1, 3], *[[4 + n % 19] for n in range(30)]])
    assert wants_unseen(many, counts).tolist() == [False, True, False, False] + [True] * 30
    few_queries = Jagged.from_rows([[1], *[[4 + n] for n in range(19)]])
    assert wants_unseen(few_queries, counts).all()
    few_items = Jagged.from_rows([[1], *[[4 + n % 9] for n in range(40)]])
    assert wants_unseen(few_items, counts).all()


def test_a_setting_must_be_clearly_better_for_many_items():
    rng = np.random.default_rng(0)
    first = rng.random(200)
    one_each, few = (Jagged.from_rows([[1 + n % items] for n in range(200)]) for items in (200, 4))
    assert best_setting({0.0: first, 0.5: first + rng.normal(0.001, 0.5, 200)}, one_each, errors=2) == 0.0
    assert best_setting({0.0: first, 0.5: first + 0.1, 1.0: first + 0.05}, one_each, errors=2) == 0.5
    assert best_setting({0.0: first, 0.5: first + rng.normal(0.05, 0.5, 200)}, one_each, errors=2) == 0.0
    by_item = first + np.where(np.arange(200) % 4 == 0, 0.3, -0.05)
    assert best_setting({0.0: first, 1.0: by_item}, one_each, errors=2) == 1.0
    assert best_setting({0.0: first, 1.0: by_item}, few, errors=2) == 0.0  # one item in four says little


def test_a_split_without_validation_queries_is_refused(build_dataset, cyclic_events, monkeypatch):
    _, dataset = build_dataset(cyclic_events(num_users=20))
    monkeypatch.setattr(type(dataset), "num_queries", lambda *_: 0)
    with pytest.raises(ValueError, match="no validation query"):
        validation_set(dataset, seed=0)


@pytest.mark.parametrize("part", ["validation", "test"])
def test_queries_that_nothing_can_answer_are_refused_before_training(build_dataset, tmp_path, part):
    new = {"test": "d", "validation": "c"}[part]  # never in training, and without metadata
    rows = [(user, item if item == new or position < 2 else "ab"[user % 2], position)
            for user in range(6) for position, item in enumerate("abcd")]  # fmt: skip
    events = pl.DataFrame(rows, schema=["user_id", "item_id", "time"], orient="row")
    items = pl.DataFrame({"item_id": ["a", "b"], "genre": ["x", "y"]})
    genre = {"item": [{"name": "genre", "kind": "categorical"}]}
    config, dataset = build_dataset(events, items=items, features=genre, **TINY)
    with pytest.raises(InputError, match=f"no target of the 6 {part} queries is in the catalogue, so any model would"):
        train(config, dataset, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_catalogue_of_millions_is_evaluated_on_a_sample_of_the_test_queries(small_run, monkeypatch, caplog):
    dataset = small_run.dataset
    everything = dataset.queries("test")
    assert validation.queries_to_evaluate(dataset, seed=0).equals(everything)
    monkeypatch.setattr(validation, "MIN_QUERIES", 5)
    monkeypatch.setattr(validation, "MAX_PAIRS", 20 * dataset.encoder.num_items)
    with caplog.at_level("INFO", logger="training.validation"):
        sample = validation.queries_to_evaluate(dataset, seed=0)
    assert sample.height == 20
    assert sample.join(everything, on="user_id", how="semi").height == 20
    assert f"a sample of 20 of the {everything.height:,} test queries" in caplog.text
    assert not sample.equals(validation.queries_to_evaluate(dataset, seed=1))
    monkeypatch.setattr(validation, "MAX_PAIRS", 1)
    assert validation.queries_to_evaluate(dataset, seed=0).height == 5
