"""The command that refreshes; tests/training/test_refresh.py tests what it does."""

import json

import polars as pl

from recsys.actions import invoke
from recsys.cli import app
from recsys.registry import CHALLENGER, CHAMPION, Registry


def test_a_folder_is_refreshed(small_run, tmp_path, capsys):
    out, bundle = tmp_path / "out", str(small_run.run / "bundle")
    items = ["--items", str(small_run.folder / "items.parquet")]
    assert invoke(app, ["refresh", "--bundle", bundle, *items, "--out", str(out), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["parent"], shown["added"], shown["version"], shown["promoted"]) == (
        small_run.bundle_id, 0, None, False,
    )  # fmt: skip


def test_a_refusal_is_exit_code_3_with_the_reason(small_run, registrar, registry_uri, tmp_path, capsys):
    version = registrar(registry_uri)()
    registry = Registry(registry_uri)
    registry.move("small", CHAMPION, version)
    registry.move("small", CHALLENGER, None)
    small_run.items.head(9).write_parquet(tmp_path / "items.parquet")
    words = ["refresh", "--bundle", "models:/small@champion", "--items", str(tmp_path / "items.parquet")]
    words += ["--registry", registry_uri, "--out"]
    assert invoke(app, [*words, str(tmp_path / "out"), "--complete"]) == 3
    assert "refused: share of the items removed" in capsys.readouterr().out
    assert invoke(app, [*words, str(tmp_path / "out")]) == 2  # it holds another refresh
    assert invoke(app, [*words, str(tmp_path / "other")]) == 0
    assert "is champion already with these items" in capsys.readouterr().out


def test_a_bundle_that_cannot_place_new_items_says_so(baseline_bundles, tmp_path, capsys):
    pl.DataFrame({"item_id": ["new"], "title": ["A"]}).write_parquet(tmp_path / "items.parquet")
    words = ["--items", str(tmp_path / "items.parquet"), "--out", str(tmp_path / "out")]
    assert invoke(app, ["refresh", "--bundle", str(baseline_bundles["ease"]), *words]) == 0
    assert "new items are left out: the model reads no item features" in capsys.readouterr().out
