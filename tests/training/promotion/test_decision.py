"""A decision as people read it and as it is stored."""

import json
from pathlib import Path

import pytest

from recsys.config import GateConfig
from training.promotion.decision import Check, Decision

EARLIER = next((Path(__file__).parent / "earlier_release").iterdir())
PASSED = Check(name="queries", passed=True, figure=5000, demand="at least", limit=200, form=",")
FAILED = Check(name="ahead", passed=False, figure=-0.01, demand="low end above", limit=0.0, low=-0.02, high=0.005)


def decision(*checks, challenger=2, champion=1):
    return Decision(
        name="m", challenger=challenger, champion=champion, source=1, num_queries=5000, checks=checks,
        settings=GateConfig(),
    )  # fmt: skip


def test_a_decision_of_an_earlier_release_is_read():
    stored = json.loads(EARLIER.read_text())
    earlier = Decision.read(EARLIER)
    assert (earlier.promoted, earlier.verdict) == (stored["promoted"], stored["verdict"])
    assert [(check.figure, check.limit) for check in earlier.checks] == [
        (check["figure"], check["limit"]) for check in stored["checks"]
    ]


def test_the_verdict_names_what_failed():
    refused = decision(PASSED, FAILED, FAILED.model_copy(update={"name": "cold items"}))
    assert not refused.promoted
    assert refused.verdict == "refused: ahead; cold items"
    assert refused.lines() == [
        "m version 2 against champion 1, on 5,000 test queries of version 1 whose answers no model was trained on",
        "pass  queries: 5,000, at least 200",
        "FAIL  ahead: -0.0100 [-0.0200, +0.0050], low end above +0.0000",
        "FAIL  cold items: -0.0100 [-0.0200, +0.0050], low end above +0.0000",
        "m version 2 refused: ahead; cold items",
    ]


def test_a_dry_run_says_that_nothing_is_changed():
    lines = decision(PASSED, champion=None).lines(dry_run=True)
    assert lines[0].startswith("m version 2, on 5,000 test queries")
    assert lines[-1] == "dry run, nothing is changed; the verdict: promoted"


def test_a_champion_has_nothing_to_prove():
    standing = Decision.already_champion("m", 3)
    assert standing.promoted
    assert standing.lines() == ["m version 3 is champion already"]


@pytest.mark.parametrize(
    "change", [{"num_queries": 4999}, {"checks": (FAILED,)}, {"settings": GateConfig(latency_ms=5)}]
)
def test_the_id_depends_on_everything_that_was_decided(change):
    first = decision(PASSED)
    assert decision(PASSED).id == first.id
    assert first.model_copy(update=change).id != first.id


def test_what_is_stored_says_how_it_ended(tmp_path):
    decision(PASSED, FAILED).write(tmp_path / "gate.json")
    stored = json.loads((tmp_path / "gate.json").read_text())
    assert (stored["promoted"], stored["verdict"]) == (False, "refused: ahead")
    assert stored["checks"][0]["figure"] == 5000
    assert Decision.read(tmp_path / "gate.json") == decision(PASSED, FAILED)
