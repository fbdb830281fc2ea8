"""A refreshed bundle answers as one that is loaded with today's items, and serves once the short gate has passed."""

import shutil

import polars as pl
import pytest

from recsys.bundle import read_provenance, verify
from recsys.errors import InputError
from recsys.registry import CHALLENGER, CHAMPION, PREVIOUS, Registry
from recsys.retriever import Retriever
from training.drift import compare_bundles
from training.evaluation import EvaluationRecord
from training.promotion import promote, rollback, version_history
from training.promotion.fair_queries import Records
from training.promotion.freshness import registered
from training.refresh import refresh


@pytest.fixture
def today(small_run):
    """Two new items, one of changed year."""
    items = small_run.items
    new = items.head(2).with_columns(item_id=pl.Series(["new2", "new1"]))
    return pl.concat([new, items[5:6].with_columns(year=pl.lit(1800, pl.Int64))])


@pytest.fixture
def champion(registrar, registry_uri):
    version = registrar(registry_uri)()
    registry = Registry(registry_uri)
    registry.move("small", CHAMPION, version)
    registry.move("small", CHALLENGER, None)
    return version


def answers(retriever, small_run):
    histories = small_run.dataset.queries("test").get_column("history")
    answer = retriever.recommend(histories, k=20)
    return answer.item_ids.to_list(), answer.scores.to_list()


def test_it_answers_as_a_bundle_loaded_with_these_items(small_run, today, tmp_path):
    source = small_run.run / "bundle"
    once, again = (refresh(str(source), today, tmp_path / name) for name in ("one", "two"))
    assert once.bundle_id == again.bundle_id == verify(tmp_path / "one") != small_run.bundle_id
    assert read_provenance(tmp_path / "one").parent == small_run.bundle_id == once.parent_id
    assert (once.changes.added, once.changes.changed, once.changes.removed, once.placed) == (2, 1, 0, True)
    assert once.version is None
    expected = Retriever.load(source, items=today)
    assert answers(Retriever.load(tmp_path / "one"), small_run) == answers(expected, small_run)


def test_two_days_are_one_merged_day(small_run, today, tmp_path):
    second = today.head(1).with_columns(item_id=pl.lit("newest"), year=pl.lit(1950, pl.Int64))
    refresh(str(small_run.run / "bundle"), today, tmp_path / "day1")
    refresh(str(tmp_path / "day1"), second, tmp_path / "day2")
    refresh(str(small_run.run / "bundle"), pl.concat([today, second]), tmp_path / "merged")
    (ids, scores), (merged_ids, merged_scores) = (
        answers(Retriever.load(tmp_path / name), small_run) for name in ("day2", "merged")
    )
    assert [set(row) for row in ids] == [set(row) for row in merged_ids]
    assert scores == [pytest.approx(row, abs=1e-5) for row in merged_scores]


def test_the_champion_is_refreshed_registered_and_replaced(small_run, champion, registry_uri, today, tmp_path):
    registry, source = Registry(registry_uri), "models:/small@champion"
    done = refresh(source, today, tmp_path / "out", registry_uri=registry_uri)
    assert done.decision.promoted, done.decision.lines()
    version = registry.version("small", CHAMPION)
    assert version == registry.numbered("small", done.version.number)
    assert registry.version("small", PREVIOUS).number == champion.number
    assert version.tags["recsys.refresh"] == champion.bundle_id
    assert version.tags["recsys.parent"] == f"version {champion.number}"
    assert registered(version) == registered(champion)  # else a champion that is refreshed daily would never be stale
    assert (
        "refresh of version 1, 2 items added, 1 changed, 0 removed"
        in version_history("small", registry_uri=registry_uri).changes[-1].why
    )
    assert Records.read(registry, version).queries.equals(Records.read(registry, champion).queries)
    same = refresh(source, today, tmp_path / "same", registry_uri=registry_uri)
    assert same.version == version
    assert same.decision is None
    assert len(registry.versions("small")) == 2


def test_other_commands_take_a_refreshed_version(small_run, champion, registrar, registry_uri, today, tmp_path):
    refresh("models:/small@champion", today, tmp_path / "out", registry_uri=registry_uri)
    challenger = registrar(registry_uri)()
    decision = promote("small", registry_uri=registry_uri, dry_run=True, overrides=("gate.latency_ms=10000",))
    assert (decision.challenger, decision.champion) == (challenger.number, 2)
    old, new = (Retriever.load(f"models:/small/{number}", registry_uri=registry_uri) for number in (1, 2))
    assert compare_bundles(old, new, small_run.dataset.queries("test").select("user_id", "history").head(20))
    assert promote("small", number=2, registry_uri=registry_uri).lines() == ["small version 2 is champion already"]
    assert rollback("small", registry_uri=registry_uri).restored.number == 1
    judged = promote("small", number=2, registry_uri=registry_uri, overrides=("gate.latency_ms=10000",))
    assert judged.num_queries == len(small_run.dataset.queries("test"))


def test_a_refused_refresh_moves_nothing(small_run, champion, registry_uri, tmp_path):
    half = small_run.items.head(small_run.items.height // 2)
    done = refresh("models:/small@champion", half, tmp_path / "out", complete=True, registry_uri=registry_uri)
    registry = Registry(registry_uri)
    assert done.decision.verdict.startswith("refused: share of the items removed")
    assert registry.version("small", CHAMPION).number == champion.number
    assert registry.version("small", PREVIOUS) is None
    assert registry.numbered("small", done.version.number).tags["recsys.gate"] == done.decision.verdict


def test_what_is_at_out_is_not_lost(small_run, today, tmp_path):
    (tmp_path / "mine").write_text("")
    with pytest.raises(InputError, match="something else than a bundle"):
        refresh(str(small_run.run / "bundle"), today, tmp_path)
    with pytest.raises(InputError, match="is the bundle itself"):
        refresh(str(small_run.run / "bundle"), today, small_run.run / "bundle")


def test_a_refresh_is_taken_up_only_where_its_inputs_are_the_same(small_run, today, tmp_path, monkeypatch):
    source, out = str(small_run.run / "bundle"), tmp_path / "out"
    first = refresh(source, today, out)
    monkeypatch.setattr("training.refresh._save", None)  # nothing is written again
    again = refresh(source, today, out)
    assert (again.bundle_id, str(again.changes)) == (first.bundle_id, str(first.changes))
    for items, complete, parent in ((today[1:], False, source), (today, True, source), (today, False, str(out))):
        with pytest.raises(InputError, match=r"--out .* holds bundle .*; expected a new folder|is the bundle itself"):
            refresh(parent, items, out, complete=complete)
    assert verify(out) == first.bundle_id


def test_a_table_without_items_removes_nothing_in_silence(small_run, tmp_path):
    with pytest.raises(InputError, match=r"hold none of the \d+ items, which complete .* would remove") as raised:
        refresh(str(small_run.run / "bundle"), small_run.items.head(0), tmp_path / "out", complete=True)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "out").exists()


def test_figures_name_the_bundle_that_they_were_measured_on(champion, registry_uri, today, tmp_path):
    registry, source = Registry(registry_uri), "models:/small@champion"
    first = refresh(source, today, tmp_path / "one", registry_uri=registry_uri)
    second = refresh(source, today.head(1).with_columns(year=1901), tmp_path / "two", registry_uri=registry_uri)
    for done in (first, second):
        evaluation = EvaluationRecord.read(registry.records(done.version))
        assert (evaluation.bundle_id, evaluation.inherited_from) == (done.bundle_id, champion.bundle_id)
        with pytest.raises(InputError, match=f"measured on {champion.bundle_id[:12]}, of which it is a refresh"):
            evaluation.require()
    assert EvaluationRecord.read(registry.records(champion)).inherited_from is None


def test_a_refresh_needs_nothing_of_its_parent(champion, registry_uri, today, tmp_path):
    registry = Registry(registry_uri)
    done = refresh("models:/small@champion", today, tmp_path / "out", registry_uri=registry_uri)
    shutil.rmtree(registry.bundle_path(champion).parent)
    shutil.rmtree(tmp_path / "out")
    retriever = Retriever.load("models:/small@champion", registry_uri=registry_uri)
    assert retriever.bundle_id == done.bundle_id
    assert len(retriever.recommend([["new1"]], k=5).item_ids[0]) == 5
    assert Records.read(registry, done.version)


def test_a_baseline_takes_metadata_only(baseline_bundles, today, tmp_path):
    done = refresh(str(baseline_bundles["item_knn"]), today, tmp_path / "out")
    assert (done.placed, done.changes.added, done.changes.changed) == (False, 0, 1)
    assert read_provenance(tmp_path / "out").parent == done.parent_id
