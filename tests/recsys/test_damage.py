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


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("state.json", cut),
        ("state.json", blank),
        ("part-00000.json", cut),
        ("manifest.json", cut),
        ("manifest.json", blank),
    ],
)
def test_damaged_scores_are_refused(small_run, name, damage, capsys, tmp_path):
    bundle, events = str(small_run.run / "bundle"), str(small_run.folder / "events.parquet")
    arguments = ["score", "--bundle", bundle, "--events", events, "--out", str(tmp_path / "recs"), "--k", "3"]
    assert invoke(app, arguments) == 0
    if name == "part-00000.json":
        (tmp_path / "recs" / "manifest.json").unlink()
    damage(tmp_path / "recs" / name)
    capsys.readouterr()
    assert str(tmp_path / "recs") in refusal(arguments, capsys)


def refusal(arguments, capsys):
    """The one line that bad input gets, with exit code 2 and no traceback."""
    assert invoke(app, arguments) == 2
    printed = capsys.readouterr().err
    assert "Traceback" not in printed
    (error,) = [line for line in printed.splitlines() if line.startswith("error: ")]
    return error
