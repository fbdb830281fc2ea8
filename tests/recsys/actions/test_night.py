"""A night on 50 users and 200 events: something serves whatever happens, and the job says what."""

import fcntl
import json
import os
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from recsys.actions import night as nights
from recsys.actions.night import nightly
from recsys.actions.pipeline import publish
from recsys.cli import app
from recsys.registry import CHAMPION, PREVIOUS, Registry
from training.promotion import rollback
from training.promotion.last_resort import BASELINE_TAG
from training.refresh import refresh

ROOT = Path(__file__).parents[3]
CONFIG = """
[data]
events = "given by the job"
time = "timestamp"
[model]
embedding_dim = 8
num_members = 1
[training]
epochs = 1
device = "cpu"
[registry]
name = "shop"
"""
LENIENT = ["gate.min_queries=2", "gate.must_beat=[]", "gate.required_gain=-0.99", "gate.slice_margin=10",
           "gate.coverage_share=0", "gate.gini_rise=1", "gate.latency_ms=10000"]  # fmt: skip


def small_log(num_events):
    rng = np.random.default_rng(0)
    users = np.concatenate([np.arange(50), rng.integers(0, 50, 350)])
    items = (rng.zipf(1.6, 400) - 1) % 40
    log = pl.DataFrame({"user_id": users, "item_id": items, "timestamp": np.arange(400)})
    return log.with_columns(pl.format("u{}", "user_id").alias("user_id")).head(num_events)


@pytest.fixture(scope="module")
def shop(tmp_path_factory, empty_registry):
    """A shop that has had two nights: the first was killed before scoring and started again, then a better one."""
    folder = tmp_path_factory.mktemp("shop")
    (folder / "my.toml").write_text(CONFIG)
    shutil.copy(empty_registry, folder / "mlflow.db")
    for name, log in {"1": small_log(200), "2": small_log(260), "broken": small_log(200).drop("item_id")}.items():
        log.write_parquet(folder / f"{name}.parquet")
    registry = f"sqlite:///{folder / 'mlflow.db'}"

    def night(name, log, *settings, keep=7):
        return nightly(
            folder / "my.toml", str(folder / f"{log}.parquet"), name, folder, keep, [*settings], registry
        )  # fmt: skip

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nights, "score", killed)
        with pytest.raises(KeyboardInterrupt):
            night("n1", "1")
    unfinished = (folder / "recs" / "latest").is_symlink()
    first = night("n1", "1")
    second = night("n2", "2", *LENIENT, keep=1)
    return SimpleNamespace(
        folder=folder, night=night, registry=registry, first=first, second=second, unfinished=unfinished
    )


def killed(*arguments, **settings):
    raise KeyboardInterrupt


def summary(shop, name):
    return json.loads((shop.folder / "nights" / f"{name}.json").read_text())


def test_the_first_night_serves_a_baseline_and_says_so(shop):
    first = shop.first
    assert (first.exit_code, first.serves, first.promotion.promoted, first.last_resort.promoted) == (
        4, "last resort", False, True,
    )  # fmt: skip
    assert not shop.unfinished
    assert first.scores.totals["users"] == 50
    lines = first.lines()
    assert any(line.startswith("FAIL  queries: ") and line.endswith("(gate.min_queries)") for line in lines)
    assert (
        f"shop version 2 ({first.baseline} baseline) is champion already, as last resort" in lines
    )  # by the first try
    assert lines[-1] == (
        f"night n1: no model has passed the gate: version 2, the {first.baseline} baseline, serves as last resort; "
        f"{shop.folder}/recs/latest has its recommendations"
    )


def test_a_model_that_passes_replaces_the_last_resort(shop):
    second, store = shop.second, Registry(shop.registry)
    assert (second.exit_code, second.serves, second.baseline, second.last_resort) == (0, "promoted", None, None)
    assert (store.version("shop", CHAMPION).number, store.version("shop", PREVIOUS).number) == (3, 2)
    latest = shop.folder / "recs" / "latest"
    assert latest.readlink() == Path("n2")
    assert pl.read_parquet(latest / "part-*.parquet")["user_id"].n_unique() == 50
    assert summary(shop, "n2") == json.loads(second.model_dump_json())
    assert summary(shop, "n1")["exit_code"] == 4


def test_old_nights_go_and_what_serves_or_served_stays(shop):
    assert shop.second.removed == ["n1"]
    assert not (shop.folder / "recs" / "n1").exists()
    assert (shop.folder / "runs" / "n1").is_dir()  # its baseline is the previous champion


def test_a_broken_log_changes_nothing(shop):
    before = [change.version for change in Registry(shop.registry).changes("shop")]
    with pytest.raises(ValueError, match="has no column 'item_id'"):
        shop.night("n3", "broken")
    assert (shop.folder / "recs" / "latest").readlink() == Path("n2")
    assert [change.version for change in Registry(shop.registry).changes("shop")] == before


def test_a_refused_night_is_scored_by_the_champion(shop):
    """The first night again, whose model is older than the champion by now."""
    again = shop.night("n1", "1")
    assert (again.exit_code, again.serves, again.version) == (3, "refused", 3)
    assert again.lines()[-1].startswith("night n1: version 1 was refused, champion 3 still serves; ")
    assert (shop.folder / "recs" / "latest").readlink() == Path("n1")


def test_a_night_goes_on_with_a_refreshed_champion(shop, tmp_path):
    titles = pl.DataFrame({"item_id": range(40), "title": [f"Item {item}" for item in range(40)]})
    done = refresh("models:/shop@champion", titles, tmp_path / "refreshed", registry_uri=shop.registry)
    assert done.decision.promoted, done.decision.lines()
    night = shop.night("n6", "1")  # trained for it: the nights before were scored by the champion of then
    assert (night.exit_code, night.serves, night.version) == (3, "refused", done.version.number)
    assert night.scores.totals["users"] == 50
    assert (shop.folder / "runs" / "n2").is_dir()  # the parent is the previous champion
    rollback("shop", registry_uri=shop.registry)


def test_a_night_judges_its_own_model_by_the_settings_of_tonight(shop):
    """The data of the first night again, whose model stands behind a baseline that somebody published meanwhile."""
    publish(shop.folder / "runs" / "n1", "popularity", None, shop.registry)
    night = shop.night("n5", "1", "gate.min_queries=7", "gate.must_beat=['popularity']")
    assert (night.exit_code, night.promotion.version) == (3, 1)
    assert any("at least 7 (gate.min_queries)" in line for line in night.lines())


def test_the_script_asks_for_a_night_and_ends_with_its_exit_code(tmp_path):
    """Of a stand-in that prints its arguments, which the real command takes; what that does, the other tests show."""
    program = tmp_path / "recsys"
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\nexit 4\n')
    program.chmod(0o755)
    command = ["sh", str(ROOT / "examples" / "nightly.sh"), "my.toml", "two logs.parquet", "shop", "n4"]
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = subprocess.run(command, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False)
    assert done.returncode == 4, done.stderr
    arguments = done.stdout.splitlines()
    assert arguments[0] == "nightly"
    _, bound, _ = app.parse_args(arguments, exit_on_error=False, print_error=False)
    asked = {name: bound.arguments[name] for name in ("config", "events", "night", "settings")}
    assert asked == {
        "config": Path("my.toml"), "events": "two logs.parquet", "night": "n4", "settings": ['registry.name="shop"'],
    }  # fmt: skip


def test_two_nights_at_once_are_refused(tmp_path):
    (tmp_path / "nights").mkdir()
    with (tmp_path / "nights" / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ValueError, match=r"another night is running in .*; wait until it has ended"):
            nightly(tmp_path / "my.toml", "events.parquet", "n1", tmp_path, 7, None, None)


@pytest.mark.parametrize("night", ["", "latest", "a/b", "..", ".hidden", "-x", "x" * 101])
def test_a_night_is_named_so_that_it_can_be_a_folder(tmp_path, night):
    with pytest.raises(ValueError, match="--night is "):
        nightly(tmp_path / "my.toml", "events.parquet", night, tmp_path, 7, None, None)
    assert not any(tmp_path.iterdir())


def test_what_stands_in_the_way_is_refused_before_the_work(tmp_path):
    with pytest.raises(ValueError, match="--keep is 0; expected at least 1"):
        nightly(tmp_path / "my.toml", "events.parquet", "n1", tmp_path, 0, None, None)
    (tmp_path / "recs" / "latest").mkdir(parents=True)
    with pytest.raises(ValueError, match="latest is no link"):
        nightly(tmp_path / "my.toml", "events.parquet", "n1", tmp_path, 7, None, None)


def test_only_nights_of_the_job_are_deleted_the_oldest_first(tmp_path, registry_uri):
    for number, night in enumerate(("n1", "n2", "n3", "n4")):
        for folder in ("runs", "recs"):
            (tmp_path / folder / night).mkdir(parents=True)
        path = tmp_path / "nights" / f"{night}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text("{}")
        os.utime(path, (number, number))
    (tmp_path / "runs" / "mine").mkdir()
    assert nights._remove_old(tmp_path, 4, "n4", "shop", registry_uri) == []
    assert nights._remove_old(tmp_path, 2, "n4", "shop", registry_uri) == ["n2", "n1"]
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["mine", "n3", "n4"]
    assert sorted(path.name for path in (tmp_path / "recs").iterdir()) == ["n3", "n4"]
    assert nights._remove_old(tmp_path, 2, "n4", "shop", registry_uri) == []


def test_an_old_night_that_cannot_be_read_or_deleted_stays_and_stops_nothing(
    tmp_path, registry_uri, monkeypatch, caplog
):
    (tmp_path / "nights").mkdir()
    for night in ("n1", "n2"):
        (tmp_path / "nights" / f"{night}.json").touch()
        (tmp_path / "runs" / night / "records").mkdir(parents=True)
    (tmp_path / "runs" / "n1" / "records" / "bundle.json").write_text("[]")
    assert nights._remove_old(tmp_path, 1, "n2", "shop", registry_uri) == []
    assert "runs/n1 is kept: " in caplog.text
    (tmp_path / "runs" / "n1" / "records" / "bundle.json").unlink()
    monkeypatch.setattr(nights.shutil, "rmtree", refused)
    assert nights._remove_old(tmp_path, 1, "n2", "shop", registry_uri) == []
    assert "night n1 cannot be deleted: [Errno 13]" in caplog.text


def refused(folder):
    raise PermissionError(13, "Permission denied", str(folder))


@pytest.mark.parametrize(("champion", "judged"), [(1, True), (2, True), (3, False)])
def test_a_night_that_is_repeated_does_not_bring_back_its_baseline(monkeypatch, champion, judged):
    serving = SimpleNamespace(number=champion, tags={BASELINE_TAG: "ease"})
    monkeypatch.setattr(nights, "Registry", lambda uri: SimpleNamespace(version=lambda name, alias: serving))
    monkeypatch.setattr("training.choose_baseline.best_baseline", lambda run: "ease")
    monkeypatch.setattr(nights, "publish", lambda *arguments: SimpleNamespace(version=2))
    monkeypatch.setattr(nights, "promote", lambda name, number, *rest: number)
    assert nights._last_resort(SimpleNamespace(name="shop", run=Path("run")), [], None) == (2 if judged else None)


def test_the_link_moves_in_one_step_even_after_a_kill(tmp_path):
    link = tmp_path / "latest"
    (tmp_path / ".latest.partial").symlink_to("left by a killed night")
    for target in ("n1", "n2"):
        nights._point(link, target)
        assert link.readlink() == Path(target)
    assert sorted(tmp_path.iterdir()) == [link]
