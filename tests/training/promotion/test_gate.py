"""Promotion is a gate: who passes, who does not, and what is written down."""

import json
import logging
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recsys import cli
from recsys.bundle import load_bundle
from recsys.registry.store import CHALLENGER, CHAMPION, PREVIOUS, Registry
from recsys.retriever import Retriever
from training.evaluation import evaluate
from training.promotion import gate
from training.promotion.aliases import version_history
from training.promotion.gate import promote


def failed(decision):
    return [check.name.split(",")[0] for check in decision.checks if not check.passed]


def test_the_first_version_needs_only_the_baselines(registry_uri, register, aliases, judge):
    version = register()
    decision, lines = judge()
    assert decision.promoted
    names = [check.name.split(",")[0] for check in decision.checks]
    assert names == ["queries", "beats popularity", "beats item-kNN", "recall of the index", "latency in ms of CPU"]
    assert lines[0] == "small version 1, on 300 test queries of version 1 whose answers no model was trained on"
    assert lines[2].startswith("pass  beats popularity: NDCG@10 +0.")
    assert lines[-1] == "small version 1 promoted"
    assert aliases() == {CHAMPION: 1}
    store = Registry(registry_uri)
    assert store.numbered("small", 1).tags[gate.DECISION_TAG] == "promoted"
    folder = Path(store.client.download_artifacts(version.run_id, "gate"))
    content = json.loads((folder / f"gate-{decision.id}.json").read_text())
    assert content["promoted"]
    assert content["settings"]["latency_ms"] == 10000
    assert (folder / f"gate-{decision.id}.txt").read_text().splitlines()[0] == lines[0]


def test_a_first_version_that_beats_no_baseline_is_refused(registry_uri, register, aliases, judge):
    register(baselines=1.5)
    decision, lines = judge()
    assert failed(decision) == ["beats popularity", "beats item-kNN"]
    assert lines[3].startswith("FAIL  beats item-kNN: NDCG@10 -0.")
    assert lines[3].endswith(", low end above +0.0000 (gate.must_beat)")
    assert lines[-1] == "small version 1 refused: beats popularity; beats item-kNN"
    assert aliases() == {CHALLENGER: 1}
    assert Registry(registry_uri).numbered("small", 1).tags[gate.DECISION_TAG].startswith("refused: beats popularity")


def test_a_better_one_passes_an_equal_and_a_worse_one_do_not(register, aliases, judge, shuffled):
    register(shuffled(0.5))
    judge()
    register()
    decision, _ = judge()
    assert decision.promoted
    assert aliases() == {CHAMPION: 2, PREVIOUS: 1}
    register()
    decision, lines = judge()
    assert failed(decision) == ["ahead of the champion"]
    assert lines[4].startswith(
        "FAIL  ahead of the champion: NDCG@10 +0.0000 [+0.0000, +0.0000], low end above +0.0000 (gate.required_gain)"
    )
    decision, _ = judge("gate.required_gain=-0.02", dry_run=True)  # a margin of non-inferiority
    assert decision.promoted
    register(shuffled(0.5))
    decision, _ = judge("gate.required_gain=-0.02")
    assert "ahead of the champion" in failed(decision)
    assert aliases() == {CHAMPION: 2, PREVIOUS: 1, CHALLENGER: 4}


def test_an_equal_model_of_newer_data_replaces_a_stale_champion(register, aliases, judge, shuffled):
    register()
    judge()
    later = datetime.now(UTC) + timedelta(days=8)
    register()  # the same log again: nothing is fresher
    assert failed(judge(now=later)[0]) == ["ahead of the champion"]
    register(log="another")
    assert failed(judge(dry_run=True)[0]) == ["ahead of the champion"]  # the champion is of today
    assert failed(judge("gate.stale_after=0", now=later, dry_run=True)[0]) == ["ahead of the champion"]
    _, lines = judge(now=later)
    assert lines[4].startswith("pass  as good as a champion of 8 days: NDCG@10 +0.0000 [")
    assert lines[4].endswith("(gate.stale_margin)")
    assert aliases() == {CHAMPION: 3, PREVIOUS: 1}
    register(shuffled(0.5), log="a third")
    assert "as good as a champion of 8 days" in failed(judge(now=later)[0])


def test_small_data_may_relax_every_demand(register, aliases, judge):
    register(baselines=1.5)
    decision, _ = judge("gate.must_beat=[]", "gate.min_queries=2")
    assert [check.name.split(",")[0] for check in decision.checks] == [
        "queries", "recall of the index", "latency in ms of CPU",
    ]  # fmt: skip
    assert aliases() == {CHAMPION: 1}
    register()
    message = r"gate.must_beat.0 is 'knn'; expected 'popularity', 'item_knn', 'ease' or 'bm25'"
    with pytest.raises(ValueError, match=message):
        judge("gate.must_beat=['knn']")
    with pytest.raises(
        ValueError, match=r"gate.must_beat is 'ease'; expected a list of names, as in \[\"popularity\"\]"
    ):
        judge("gate.must_beat=ease")


def test_a_slice_that_falls_is_refused_by_name(small_run, register, judge, shuffled):
    """Better overall, but the rare items have lost their places."""
    counts = load_bundle(small_run.run / "bundle")[0].item_counts
    by_count = np.argsort(counts[1:], kind="stable") + 1
    rare, frequent = np.split(by_count, [len(by_count) // 2])
    register(shuffled(0.8, frequent))
    judge()
    register(shuffled(1.0, rare))
    decision, _ = judge("gate.coverage_share=0", "gate.gini_rise=1")
    assert all(name.startswith(("tail items", "torso items")) for name in failed(decision))
    assert not decision.promoted


def test_too_few_fair_queries_are_refused_with_the_number(register, judge, shuffled):
    register(shuffled(0.5))
    judge()
    late = {"trained": lambda frame: frame.with_columns(pl.col("until", "read").max())}
    register(log="another", **late)  # trained past the champion's targets, and asking at the same time
    decision, lines = judge(dry_run=True)
    assert failed(decision) == []  # the champion has seen none of its own queries' answers
    register(log="a third", queries_test=lambda frame: frame.with_columns(since=pl.col("since").min()), **late)
    decision, lines = judge()
    assert failed(decision) == ["queries"]
    assert lines[1:] == ["FAIL  queries: 1, at least 200 (gate.min_queries)", "small version 3 refused: queries"]


def test_a_challenger_selected_by_the_champions_test_must_not_fall_on_it(register, judge, shuffled):
    """Its own test is the exam then, and would be all that is asked of a model of a broken log."""
    register()
    judge()
    chosen_by_it = {"trained": lambda frame: frame.with_columns(read=pl.col("read").max())}
    register(log="another", **chosen_by_it)
    decision, lines = judge("gate.required_gain=-0.02", dry_run=True)
    assert decision.promoted
    assert (decision.source, decision.num_queries) == (2, 300)
    guard = [line for line in lines if "the champion's own test" in line]
    assert len(guard) == 1
    assert guard[0].startswith("pass  the champion's own test, 300 queries: NDCG@10 +0.0000")
    register(shuffled(0.5), log="a third", **chosen_by_it)
    decision, _ = judge("gate.required_gain=-0.9", "gate.slice_margin=0.01")
    assert "the champion's own test" in failed(decision)


def test_a_dry_run_changes_nothing(registry_uri, register, aliases, judge):
    version = register()
    store = Registry(registry_uri)
    before = store.numbered("small", 1), store.client.list_artifacts(version.run_id, "gate")
    decision, lines = judge(dry_run=True)
    assert decision.promoted
    assert lines[-1] == "dry run, nothing is changed; the verdict: promoted"
    assert aliases() == {CHALLENGER: 1}
    assert before == (store.numbered("small", 1), store.client.list_artifacts(version.run_id, "gate"))
    assert store.changes("small") == []


def test_promoting_twice_changes_nothing(registry_uri, register, aliases, judge):
    register()
    judge()
    for number in (None, 1):
        decision, lines = judge(number=number)
        assert decision.promoted
        assert lines == ["small version 1 is champion already"]
    assert aliases() == {CHAMPION: 1}
    assert len(Registry(registry_uri).changes("small")) == 1


@pytest.mark.parametrize("step", range(5))
def test_killed_between_steps_a_promotion_is_completed(
    registry_uri, register, aliases, judge, killed_from, step, shuffled
):
    """Of record, previous, champion, history, challenger, the steps from ``step`` on are lost."""
    register(shuffled(0.5))
    judge()
    register()
    with killed_from(step, "log_file", "move", "log_change"):
        judge()
    assert aliases()[CHAMPION] in (1, 2)
    decision, _ = judge()
    assert decision.promoted
    assert aliases() == {CHAMPION: 2, PREVIOUS: 1}
    assert [change.version for change in Registry(registry_uri).changes("small")] == [1, 2]
    assert version_history("small", registry_uri=registry_uri).lines()[-1] == "now: version 2 serves"


def test_a_champion_that_changes_while_one_judges(registry_uri, register, judge, monkeypatch, caplog, shuffled):
    caplog.set_level(logging.INFO)
    first = register(shuffled(0.9))
    judge()
    second = register(shuffled(0.5))
    register()
    real = gate.judge

    def meanwhile(*arguments):
        decision = real(*arguments)
        store = Registry(registry_uri)
        if store.version("small", CHAMPION) == store.numbered("small", first.number):
            store.move("small", CHAMPION, second)
        return decision

    monkeypatch.setattr(gate, "judge", meanwhile)
    decision, _ = judge()
    assert "the champion has changed meanwhile; judging again" in caplog.messages
    assert (decision.champion, decision.promoted) == (second.number, True)


def test_without_a_challenger_or_such_a_version_there_is_nothing_to_judge(registry_uri, register):
    with pytest.raises(ValueError, match=r"'small' has no challenger in sqlite:.*; publish a model first"):
        promote("small", registry_uri=registry_uri)
    register()
    for number in (0, 7, -1):
        with pytest.raises(ValueError, match=f"'small' has no version {number} in"):
            promote("small", number=number, registry_uri=registry_uri)
    with pytest.raises(ValueError, match=r"the gate of small: unknown key 'gate.oops'"):
        promote("small", registry_uri=registry_uri, overrides=("gate.oops=1",))


def test_records_of_other_queries_are_refused(register, judge):
    register(queries_test=lambda frame: frame.reverse())
    with pytest.raises(ValueError, match="version 1: its records are of other queries"):
        judge()


def test_refusal_is_exit_code_3(registry_uri, register, monkeypatch, capsys):
    register(baselines=2.0)
    monkeypatch.setattr(sys, "argv", ["recsys", "promote", "small", "--registry", registry_uri])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 3
    assert "FAIL  beats item-kNN: NDCG@10 -" in capsys.readouterr().out


def test_the_gate_judges_by_what_the_retriever_answers(small_run, register, judge):
    register()
    decision, _ = judge()
    retriever, queries = Retriever.load(small_run.run / "bundle"), small_run.dataset.queries("test")
    expected = evaluate.per_query(evaluate.rank_queries(retriever, queries, None)).get_column("model").mean()
    assert decision.checks[1].figure == pytest.approx(expected)
