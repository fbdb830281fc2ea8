"""Every ``--out``: what cannot be written is refused before the work, links are followed, empty folders are filled."""

import shutil

import polars as pl
import pytest

from recsys.actions import invoke
from recsys.cli import app

COMMANDS = ["import", "build", "train", "run", "score", "compare"]
PLACES = {
    "a-file": "expected a folder|is a folder|no folder",
    "a-file/": "expected a folder|no folder",
    "a-file/deep/x": "is no folder; choose another place",
    "loop": "is a link to itself",
    "n" * 300: "; choose a shorter name",
    "/proc/recs": "cannot write /proc/recs: ",
    "/": "is the root of the file system",
}


@pytest.fixture
def command(small_run, tmp_path, monkeypatch):
    """A function: the command line that writes to a place. None of its inputs is there, so no work can begin."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a-file").write_text("kept")
    (tmp_path / "loop").symlink_to("loop")
    events = small_run.folder / "events.parquet"
    (tmp_path / "c.toml").write_text(f'[data]\nevents = "{events}"\ntime = "timestamp"\n')

    def line(name, out):
        bundle, config = str(small_run.run / "bundle"), ["--config", "c.toml"]
        inputs = {
            "import": ["movielens", "missing"], "build": config, "run": config,
            "train": [*config, "--dataset", str(small_run.run / "dataset")],
            "score": ["--bundle", bundle, "--events", str(events), "--k", "3"],
            "compare": ["missing", "missing", "--events", str(events)],
        }  # fmt: skip
        return [name, *inputs[name], "--out", out]

    return line


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place[:15])
@pytest.mark.parametrize("name", COMMANDS)
def test_a_place_that_cannot_be_written_is_one_line(command, capsys, tmp_path, name, place):
    if name == "compare" and place.startswith("a-file") and "deep" not in place:
        pytest.skip("it writes a file, and replaces one")
    before = sorted(tmp_path.iterdir())
    assert invoke(app, command(name, place)) == 2
    (error,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert any(part in error for part in PLACES[place].split("|")), error
    assert "missing" not in error  # the place comes first
    assert sorted(tmp_path.iterdir()) == before
    assert (tmp_path / "a-file").read_text() == "kept"


@pytest.mark.parametrize("place", ["disk/recs", "link", "link/", "dangling", ".", "../here", "new/deep/recs/"])
def test_scores_land_where_the_place_is(command, tmp_path, monkeypatch, place):
    (tmp_path / "here").mkdir()
    (tmp_path / "disk" / "there").mkdir(parents=True)
    expected = tmp_path / "here" / place
    for name, target in (("link", "../disk/there"), ("dangling", "../disk/away")):
        (tmp_path / "here" / name).symlink_to(target)
    if place == ".":
        shutil.rmtree(tmp_path / "here")
        (tmp_path / "here").mkdir()
    if place == "../here":
        for name in ("link", "dangling"):
            (tmp_path / "here" / name).unlink()
    line = command("score", place)
    monkeypatch.chdir(tmp_path / "here")
    inode = (tmp_path / "here").stat().st_ino
    assert invoke(app, line) == 0
    assert (tmp_path / "here").stat().st_ino == inode
    assert pl.read_parquet(expected / "part-*.parquet").height == 900
    for name in ("link", "dangling"):
        assert place.startswith((".", "..")) or (tmp_path / "here" / name).is_symlink()
    assert invoke(app, line) == 0


def test_a_dataset_fills_an_empty_folder_and_is_reused(command, tmp_path, capsys):
    (tmp_path / "disk").mkdir()
    inode = (tmp_path / "disk").stat().st_ino
    (tmp_path / "dataset").symlink_to("disk")
    assert invoke(app, command("build", "dataset")) == 0
    written = (tmp_path / "disk" / "manifest.json").stat().st_mtime_ns
    assert invoke(app, command("build", "dataset")) == 0
    assert (tmp_path / "disk").stat().st_ino == inode
    assert (tmp_path / "disk" / "manifest.json").stat().st_mtime_ns == written
    assert not list((tmp_path / "disk").glob(".*"))


@pytest.mark.parametrize("name", ["build", "score"])
def test_results_are_never_written_among_the_events(command, tmp_path, capsys, name, small_run):
    (tmp_path / "log").mkdir()
    shutil.copy(small_run.folder / "events.parquet", tmp_path / "log")
    (tmp_path / "c.toml").write_text('[data]\nevents = "log"\ntime = "timestamp"\n')
    line = command(name, "log/out")
    line = [str(tmp_path / "log") if word.endswith("events.parquet") else word for word in line]
    (tmp_path / "c.toml").write_text('[data]\nevents = "log"\ntime = "timestamp"\n')
    assert invoke(app, line) == 2
    assert "is inside the events at" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "log").iterdir()] == ["events.parquet"]
