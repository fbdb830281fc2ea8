"""What the commands about versions return, and which command they name next."""

import pytest

from recsys.actions.versions import compare, evaluate, history, promote, rollback


@pytest.fixture
def register(registrar, registry_uri):
    return registrar(registry_uri)


def shuffled(vectors):
    vectors[1:] = vectors[1:][::-1].copy()
    return vectors


def judge(registry_uri, *, dry_run=False):
    return promote("small", None, dry_run, None, registry_uri)


def test_a_promoted_version_is_to_be_scored_and_a_dry_run_to_be_promoted(register, registry_uri):
    register()
    outcome = judge(registry_uri, dry_run=True)
    assert (outcome.exit_code, outcome.promoted, outcome.dry_run) == (0, False, True)
    assert "promote small" in outcome.next
    outcome = judge(registry_uri)
    assert (outcome.exit_code, outcome.promoted, outcome.version, outcome.champion) == (0, True, 1, None)
    assert "score --bundle models:/small@champion" in outcome.next


def test_a_refused_version_is_to_be_compared_with_the_champion(register, registry_uri):
    register()
    judge(registry_uri)
    register(shuffled)
    outcome = judge(registry_uri)
    assert (outcome.exit_code, outcome.promoted, outcome.champion) == (3, False, 1)
    assert "compare models:/small@champion models:/small/2" in outcome.next
    assert outcome.lines()[-1].startswith("small version 2 refused")


def test_a_rollback_names_both_versions_and_the_history_follows_it(register, registry_uri):
    for spoilt in (shuffled, None):
        register(spoilt)
        assert judge(registry_uri).promoted
    outcome = rollback("small", None, registry_uri)
    assert outcome.lines() == ["small version 1 is champion again, instead of version 2"]
    assert "history small" in outcome.next
    served = history("small", registry_uri)
    assert served.champion == 1
    assert [change.version for change in served.changes] == [1, 2, 1]


def test_a_bundle_is_scored_on_frozen_queries_and_is_identical_to_itself(small_run, records, tmp_path):
    bundle = str(small_run.run / "bundle")
    scored = evaluate(bundle, records / "queries_test.parquet", "auto", None)
    assert scored.lines()[0] == f"bundle {small_run.bundle_id[:12]}, {scored.num_queries:,} queries"
    assert scored.figures["ndcg@10"].low <= scored.figures["ndcg@10"].mean <= scored.figures["ndcg@10"].high
    same = compare(bundle, bundle, str(small_run.folder / "events.parquet"), None, tmp_path / "drift.html", None)
    assert same.verdict == "identical"
    assert "<html" in same.page.read_text()
