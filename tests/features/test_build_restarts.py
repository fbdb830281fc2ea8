"""What a build does to a folder that is there already, and what a killed build leaves."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

from features.build import build
from recsys.config import Config, load_config
from tests.random_logs import config_of, contents, random_log, with_metadata


def test_a_finished_dataset_is_reused_and_another_refused(tmp_path: Path) -> None:
    config = with_metadata(tmp_path, random_log())
    dataset = build(config, tmp_path / "out")
    before = (dataset.path / "manifest.json").stat().st_mtime_ns
    train_only = config.model_copy(update={"training": config.training.model_copy(update={"epochs": 3, "seed": 9})})
    for same in (config, train_only):
        assert build(same, tmp_path / "out").digest == dataset.digest
    assert (dataset.path / "manifest.json").stat().st_mtime_ns == before
    for section, change in (("data", {"min_user_events": 4}), ("split", {"seed": 1}), ("features", {"user": ()}),
                            ("data", {"shards": 2}), ("data", {"users": None})):  # fmt: skip
        other = config.model_copy(update={section: getattr(config, section).model_copy(update=change)})
        with pytest.raises(ValueError, match="holds a dataset of other inputs or settings; choose another --out"):
            build(other, tmp_path / "out")
    for name in ("events", "items", "users"):
        table = pl.read_parquet(tmp_path / f"{name}.parquet")
        table.head(table.height - 1).write_parquet(tmp_path / f"{name}.parquet")
        with pytest.raises(ValueError, match="holds a dataset of other inputs"):
            build(config, tmp_path / "out")
        table.write_parquet(tmp_path / f"{name}.parquet")
    assert build(config, tmp_path / "out").digest == dataset.digest


def test_the_same_inputs_elsewhere_are_the_same_dataset(tmp_path: Path) -> None:
    first, second = (build(with_metadata(tmp_path / name, random_log()), tmp_path / name / "out") for name in "ab")
    assert first.digest == second.digest


@pytest.mark.parametrize("what", ["file", "folder"])
def test_what_is_no_dataset_is_never_overwritten(tmp_path: Path, what: str) -> None:
    out = tmp_path / "precious"
    if what == "folder":
        out.mkdir()
    (out / "thesis.txt" if what == "folder" else out).write_text("years of work")
    with pytest.raises(ValueError, match=r"no dataset at .*precious"):
        build(config_of(tmp_path, random_log()), out)
    assert (out / "thesis.txt" if what == "folder" else out).read_text() == "years of work"


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert build(config_of(tmp_path, random_log()), tmp_path / "out").queries("test").height


BUILD = """
import sys
from pathlib import Path
from features.build import build
from recsys.config import load_config
if __name__ == "__main__":
    config, out, workers = load_config(Path(sys.argv[1])), Path(sys.argv[2]), int(sys.argv[3])
    print("ready", flush=True)
    build(config, out, workers=workers)
"""


def kill_during_build(folder: Path, out: Path, delay: float, workers: int) -> None:
    """Start a build in a process of its own, and kill that process alone: its workers have to notice."""
    (folder / "job.py").write_text(BUILD)
    command = [sys.executable, str(folder / "job.py"), str(folder / "my.toml"), str(out), str(workers)]
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)  # ends when its workers, which hold the pipe too, have ended


def write_job(folder: Path, num_events: int) -> Config:
    random_log(0, num_events // 10, num_events).write_parquet(folder / "events.parquet")
    (folder / "my.toml").write_text('[data]\nevents = "events.parquet"\ntime = "timestamp"\nshards = 4\n')
    return load_config(folder / "my.toml")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_build_leaves_nothing_to_read_and_starts_again(tmp_path: Path, workers: int) -> None:
    config = write_job(tmp_path, 200_000)
    expected = contents(build(config, tmp_path / "whole").path)
    draw = random.Random(workers)
    for _ in range(2):
        kill_during_build(tmp_path, tmp_path / "out", draw.uniform(0, 0.4), workers)
        if (tmp_path / "out").exists():  # it was finished first
            assert contents(tmp_path / "out") == expected
    assert contents(build(config, tmp_path / "out").path) == expected
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".out")]
