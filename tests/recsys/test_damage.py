"""A damaged file is one line that names it and exit code 2, never a traceback: every artifact that people keep."""

import shutil

import pytest

from recsys.actions import invoke
from recsys.cli import app

RUN = [
    "dataset/manifest.json", "dataset/train/encoder.json", "dataset/train/shard-00000.arrow",
    "dataset/catalogue/items.arrow",
]  # fmt: skip


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def blank(path):
    path.write_text("{}" if path.suffix == ".json" else "")


@pytest.fixture
def run(small_run, tmp_path):
    shutil.copytree(small_run.run, tmp_path / "run")
    return tmp_path / "run"


@pytest.mark.parametrize("damage", [cut, blank])
@pytest.mark.parametrize("name", RUN)
def test_a_damaged_dataset_is_refused(run, small_run, name, damage, capsys, tmp_path):
    damage(run / name)
    config = tmp_path / "c.toml"
    config.write_text(f'[data]\nevents = "{small_run.folder / "events.parquet"}"\ntime = "timestamp"\n')
    arguments = ["train", "--config", str(config), "--dataset", str(run / "dataset"), "--out", str(tmp_path / "out")]
    assert str(run / "dataset") in refusal(arguments, capsys)
    assert not (tmp_path / "out" / "model.safetensors").exists()


def test_damaged_scores_are_refused_or_written_again(small_run, capsys, tmp_path):
    """All of them, and every damage: tests/serving/test_batch_scoring_repairs.py."""
    bundle, events = str(small_run.run / "bundle"), str(small_run.folder / "events.parquet")
    recs = tmp_path / "recs"
    arguments = ["score", "--bundle", bundle, "--events", events, "--out", str(recs), "--k", "3"]
    assert invoke(app, arguments) == 0
    whole = (recs / "part-00000.parquet").read_bytes()
    cut(recs / "part-00000.parquet")
    capsys.readouterr()
    assert invoke(app, arguments) == 0
    assert "written again: part-00000.parquet was changed after it was written" in capsys.readouterr().out
    assert (recs / "part-00000.parquet").read_bytes() == whole
    for damage in (cut, blank):
        damage(recs / "state.json")
        assert str(recs) in refusal(arguments, capsys)


def refusal(arguments, capsys):
    """The one line that bad input gets, with exit code 2 and no traceback."""
    assert invoke(app, arguments) == 2
    printed = capsys.readouterr().err
    assert "Traceback" not in printed
    (error,) = [line for line in printed.splitlines() if line.startswith("error: ")]
    return error
