"""Promotion is a gate: who passes, who does not, what is written down, and the way back."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from recsys import cli
from recsys.bundle import load_bundle, save_bundle
from recsys.registry import CHALLENGER, CHAMPION, PREVIOUS, Registry, RunRecord
from recsys.retriever import Retriever
from training import evaluate, gate
from training.gate import Check, promote, rollback


@pytest.fixture(scope="module")
def score(small_run):
    """The small model's own NDCG@10 on its test queries."""
    retriever, queries = Retriever.load(small_run.run / "bundle"), small_run.dataset.queries("test")
    return evaluate.per_query(evaluate.rank_queries(retriever, queries, None)).get_column(evaluate.MODEL).to_numpy()


@pytest.fixture
def register(small_run, score, registry_uri, tmp_path):
    """A function: publish a challenger with this NDCG@10 per query, whose baselines are weak or as given."""
    bundle, _ = load_bundle(small_run.run / "bundle")
    queries = small_run.dataset.queries("test")

    def make(model, *, item_knn=0.0, popularity=0.0):
        store = Registry(registry_uri)
        count = len(store.versions("small"))
        folder = tmp_path / f"records-{count}"
        folder.mkdir()
        columns = {"model": model, "popularity": popularity * score, "item_knn": item_knn * score}
        pl.DataFrame(
            [queries["user_id"], *(pl.Series(name, values) for name, values in columns.items())]
        ).write_parquet(folder / "per_query.parquet")
        queries.write_parquet(folder / "queries_test.parquet")
        path = tmp_path / f"bundle-{count}"
        bundle_id = save_bundle(replace(bundle, provenance={"count": count}), path)
        files = [(file, "records") for file in sorted(folder.iterdir())]
        version = store.publish("small", path, bundle_id, RunRecord({}, {}, [], files, {}, ""))
        store.move("small", CHALLENGER, version)
        return version

    return make


@pytest.fixture
def aliases(registry_uri):
    def look():
        found = {name: Registry(registry_uri).version("small", name) for name in (CHAMPION, CHALLENGER, PREVIOUS)}
        return {name: version.number for name, version in found.items() if version}

    return look


@pytest.fixture
def judge(registry_uri):
    """A function: promote, and the lines that were said."""

    def run(**settings):
        lines = []
        return promote("small", registry_uri=registry_uri, say=lines.append, **settings), lines

    return run


def test_the_first_version_needs_only_the_baselines(registry_uri, register, aliases, judge, score):
    version = register(score)
    decision, lines = judge()
    assert decision.promoted
    assert [check.name for check in decision.checks] == ["beats popularity", "beats item_knn"]
    assert lines[0] == "small version 1 on 300 held-out queries"
    assert lines[1].startswith(f"pass  beats popularity: ndcg@10 {score.mean():+.4f} [")
    assert lines[-2:] == ["passed", "small version 1 is now champion"]
    assert aliases() == {CHAMPION: 1}
    store = Registry(registry_uri)
    assert store.numbered("small", 1).tags[gate.DECISION_TAG] == "promoted"
    records = store.client.list_artifacts(version.run_id, "records")
    (path,) = (each.path for each in records if "gate-" in each.path)
    stored = json.loads(store.record_file(version, Path(path).name).read_text())
    assert stored["promoted"]
    assert [check["limit"] for check in stored["checks"]] == [0.0, 0.0]


def test_a_first_version_that_beats_no_baseline_is_refused(registry_uri, register, aliases, judge, score):
    register(score, item_knn=1.5)
    decision, lines = judge()
    assert not decision.promoted
    assert lines[1].startswith("pass  beats popularity")
    assert lines[2].startswith(f"FAIL  beats item_knn: ndcg@10 {-0.5 * score.mean():+.4f} [")
    assert lines[2].endswith("must stay above +0.0000")
    assert lines[3:] == ["refused"]
    assert aliases() == {CHALLENGER: 1}
    assert Registry(registry_uri).numbered("small", 1).tags[gate.DECISION_TAG] == "refused"


def test_an_equal_challenger_holds_and_a_crippled_one_is_refused(registry_uri, register, aliases, judge, score):
    register(score)
    judge()
    register(score)
    decision, lines = judge()
    assert decision.promoted
    assert decision.champion == 1
    held = decision.checks[2]
    assert (held.name, held.mean) == ("holds against champion 1", pytest.approx(0, abs=1e-6))
    assert held.limit == pytest.approx(-0.02 * score.mean(), abs=1e-6)
    assert aliases() == {CHAMPION: 2, PREVIOUS: 1}
    register(0.9 * score)
    decision, lines = judge()
    assert not decision.promoted
    assert lines[3].startswith(f"FAIL  holds against champion 2: ndcg@10 {-0.1 * score.mean():+.4f} [")
    assert lines[3].endswith(f"must stay above {-0.02 * score.mean():+.4f}")
    assert aliases() == {CHAMPION: 2, PREVIOUS: 1, CHALLENGER: 3}
    decision, _ = judge(number=3)
    assert not decision.promoted


def test_a_dry_run_changes_nothing(registry_uri, register, aliases, judge, score):
    version = register(score)
    store = Registry(registry_uri)
    before = store.numbered("small", 1), [each.path for each in store.client.list_artifacts(version.run_id, "records")]
    decision, lines = judge(dry_run=True)
    assert decision.promoted
    assert lines[-1] == "passed"
    assert aliases() == {CHALLENGER: 1}
    after = store.numbered("small", 1), [each.path for each in store.client.list_artifacts(version.run_id, "records")]
    assert before == after


def test_twice_changes_nothing(register, aliases, judge, score):
    register(score)
    judge()
    with pytest.raises(ValueError, match="'small' has no challenger in sqlite:"):
        judge()
    decision, lines = judge(number=1)
    assert decision.promoted
    assert lines == ["small version 1 is champion already"]
    assert aliases() == {CHAMPION: 1}


@pytest.mark.parametrize("move", [0, 1, 2])
def test_killed_between_moves_a_promotion_is_completed(
    registry_uri, register, aliases, judge, score, monkeypatch, move
):
    register(score)
    judge()
    register(score)
    real, moves = Registry.move, []

    def killed(*arguments):
        moves.append(arguments)
        if len(moves) == move + 1:
            raise KeyboardInterrupt
        real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Registry, "move", killed)
        with pytest.raises(KeyboardInterrupt):
            judge()
    assert aliases()[CHAMPION] in (1, 2)
    decision, _ = judge()
    assert decision.promoted
    assert aliases() == {CHAMPION: 2, PREVIOUS: 1}


def test_rollback_and_back_again(registry_uri, register, aliases, judge, score):
    with pytest.raises(ValueError, match=r"'small' has no previous champion in sqlite:.*; nothing to go back to"):
        rollback("small", registry_uri=registry_uri)
    for _ in range(2):
        register(score)
        judge()
    lines = []
    assert rollback("small", registry_uri=registry_uri, say=lines.append).number == 1
    assert lines == ["small version 1 is champion again, instead of version 2"]
    assert aliases() == {CHAMPION: 1, PREVIOUS: 2}
    assert Registry(registry_uri).numbered("small", 2).tags["recsys.rolled_back"] == "to version 1"
    rollback("small", registry_uri=registry_uri, say=lines.append)
    assert aliases() == {CHAMPION: 2, PREVIOUS: 1}


@pytest.mark.parametrize("move", [0, 1])
def test_killed_between_moves_a_rollback_leaves_a_champion(
    registry_uri, register, aliases, judge, score, monkeypatch, move
):
    for _ in range(2):
        register(score)
        judge()
    real, moves = Registry.move, []

    def killed(*arguments):
        moves.append(arguments)
        if len(moves) == move + 1:
            raise KeyboardInterrupt
        real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Registry, "move", killed)
        with pytest.raises(KeyboardInterrupt):
            rollback("small", registry_uri=registry_uri)
    assert aliases() == ({CHAMPION: 2, PREVIOUS: 1} if move == 0 else {CHAMPION: 1, PREVIOUS: 1})
    if move == 1:  # what was asked for is done; there is nothing further back
        with pytest.raises(ValueError, match="nothing to go back to"):
            rollback("small", registry_uri=registry_uri)
    assert aliases()[CHAMPION] == 2 - move


def test_who_is_unknown(registry_uri, register, score):
    with pytest.raises(ValueError, match=r"'small' has no challenger in sqlite:.*; publish a model first"):
        promote("small", registry_uri=registry_uri)
    register(score)
    for number in (0, 7, -1):
        with pytest.raises(ValueError, match=f"'small' has no version {number} in"):
            promote("small", number=number, registry_uri=registry_uri)


def test_records_of_other_queries_are_refused(registry_uri, register, small_run, score, monkeypatch):
    register(score)
    shuffled = small_run.dataset.queries("test").reverse()
    real = pl.read_parquet
    monkeypatch.setattr(gate.pl, "read_parquet", lambda path: shuffled if "queries" in str(path) else real(path))
    with pytest.raises(ValueError, match="version 1: its records are of other queries"):
        promote("small", registry_uri=registry_uri)


@pytest.mark.parametrize(("low", "limit", "passed"), [(0.1, 0.0, True), (0.0, 0.0, False), (-0.1, -0.2, True)])
def test_a_check_passes_above_its_limit(low, limit, passed):
    assert Check("name", low, low + 1, low + 2, limit).passed is passed


def test_refusal_is_exit_code_3(registry_uri, register, score, monkeypatch, capsys):
    register(score, item_knn=2.0)
    monkeypatch.setattr(sys, "argv", ["recsys", "promote", "small", "--registry", registry_uri])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 3
    assert "FAIL  beats item_knn: ndcg@10" in capsys.readouterr().out
