"""A baseline serves until a model passes the gate, is known as one, and never replaces a model unasked."""

import polars as pl
import pytest

from recsys.registry.store import CHALLENGER, CHAMPION, PREVIOUS, Registry
from training.promotion.aliases import rollback, version_history
from training.promotion.last_resort import BASELINE_TAG, LAST_RESORT_TAG

OLD = {"trained": lambda frame: frame.with_columns(pl.col("until", "read").max())}


@pytest.fixture
def store(registry_uri):
    return Registry(registry_uri)


@pytest.fixture
def register_baseline(register, store):
    """A function: publish a challenger that says that it is EASE."""

    def make(*arguments, **changed):
        version = register(*arguments, **changed)
        store.tag(version, BASELINE_TAG, "ease")
        return store.numbered("small", version.number)

    return make


def names(decision, passed=None):
    return [check.name.split(",")[0] for check in decision.checks if passed is None or check.passed == passed]


def test_where_no_champion_is_a_baseline_serves_and_every_answer_says_so(
    register, register_baseline, aliases, judge, store, registry_uri
):
    register(baselines=1.5)
    assert not judge()[0].promoted
    register_baseline(baselines=1.5)
    decision, lines = judge("gate.min_queries=10000")  # demands that are for models
    assert decision.promoted
    assert (decision.baseline, decision.champion_baseline, decision.last_resort) == ("EASE", None, True)
    assert names(decision) == ["recorded answers given again", "latency in ms of CPU"]
    assert lines[0].startswith("small version 2 (EASE baseline), on 300 test queries of version 2")
    assert lines[-1] == "small version 2 (EASE baseline) promoted as last resort"
    assert aliases() == {CHAMPION: 2}
    assert LAST_RESORT_TAG in store.numbered("small", 2).tags
    told = version_history("small", registry_uri=registry_uri)
    assert (told.baseline, told.last_resort) == ("EASE", True)
    assert told.lines()[0].endswith("EASE as last resort, since no model has passed")
    assert told.lines()[-1] == (
        "now: version 2 serves, the EASE baseline, as last resort until a model passes the gate"
    )
    assert judge()[1] == ["small version 2 (EASE baseline) is champion already, as last resort"]


def test_a_model_must_beat_the_last_resort_by_the_ordinary_rule(
    register, register_baseline, aliases, judge, shuffled, registry_uri
):
    register_baseline()
    judge()
    register()
    decision, lines = judge()
    assert names(decision, passed=False) == ["ahead of the champion"]
    assert lines[0].startswith("small version 2 against champion 1 (EASE baseline), on ")
    register(shuffled(0.5))
    assert not judge()[0].promoted
    decision, _ = judge("gate.required_gain=-0.02", number=2)
    assert decision.promoted
    assert aliases() == {CHAMPION: 2, PREVIOUS: 1, CHALLENGER: 3}
    assert version_history("small", registry_uri=registry_uri).lines()[-1] == "now: version 2 serves"


def test_a_baseline_replaces_a_model_only_by_its_number_and_by_the_ordinary_rule(
    register, register_baseline, aliases, judge, shuffled
):
    register(shuffled(0.5))
    judge()
    register_baseline()
    with pytest.raises(
        ValueError, match=r"version 2 is the EASE baseline, champion 1 a trained model, .* --version 2$"
    ):
        judge()
    decision, _ = judge(number=2, dry_run=True)
    assert "ahead of the champion" in names(decision, passed=True)
    assert "beats item-kNN" not in names(decision)
    decision, _ = judge(number=2)
    assert (decision.promoted, decision.last_resort, decision.verdict) == (True, False, "promoted")
    register_baseline(shuffled(0.9))
    register()
    judge("gate.required_gain=-0.02")
    assert aliases() == {CHAMPION: 4, PREVIOUS: 2}
    assert not judge(number=3)[0].promoted


def test_a_last_resort_that_later_passes_by_the_ordinary_rule_is_none(
    register, register_baseline, judge, shuffled, registry_uri
):
    register_baseline()
    judge()
    register(shuffled(0.5))
    rollback("small", number=2, registry_uri=registry_uri)
    decision, _ = judge(number=1)
    assert (decision.promoted, decision.last_resort) == (True, False)
    assert version_history("small", registry_uri=registry_uri).lines()[-1] == (
        "now: version 1 serves, the EASE baseline"
    )
    assert judge(number=1)[1] == ["small version 1 (EASE baseline) is champion already"]


def test_a_fresh_baseline_replaces_the_last_resort_unless_it_is_broken(register_baseline, aliases, judge, shuffled):
    register_baseline()
    judge()
    register_baseline(log="tomorrow's")
    decision, _ = judge()
    assert decision.promoted
    assert "head items (half of the events)" in names(decision)
    assert aliases() == {CHAMPION: 2, PREVIOUS: 1}
    register_baseline(log="a third", queries_test=lambda frame: frame.with_columns(since=pl.col("since").min()), **OLD)
    decision, _ = judge()  # hardly a query is left that both may answer: nothing to compare
    assert names(decision) == ["recorded answers given again", "latency in ms of CPU"]
    assert decision.promoted
    register_baseline(shuffled(1.0), log="broken")
    decision, _ = judge()
    assert "recorded answers given again" in names(decision, passed=False)
    assert aliases()[CHAMPION] == 3
