"""Batch scoring that is killed, repeated or started into another folder: the same bytes, or a refusal."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import ExitStack

import pytest

from serving.batch_scoring import score

SCRIPT = """
import sys
from pathlib import Path
from recsys.retriever import Retriever
from serving import batch_scoring as scoring, partition, sources
sources.EVENTS_PER_PARTITION, sources.EVENTS_IN_MEMORY, partition.ROWS_IN_MEMORY = 300, 400, 400
retriever = Retriever.load(sys.argv[1])
print("loaded", flush=True)
sys.stdin.readline()
scoring.score(retriever, Path(sys.argv[3]), events=sys.argv[2], k=10)
"""


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_killed_at_any_moment_scoring_ends_with_the_same_bytes(small_run, retriever, tmp_path, many_partitions):
    log, killed = str(small_run.folder / "events.parquet"), tmp_path / "killed"
    settings = {"events": log, "k": 10}
    started = time.perf_counter()
    score(retriever, tmp_path / "whole", **settings)
    seconds, expected = time.perf_counter() - started, contents(tmp_path / "whole")
    command = [sys.executable, "-c", SCRIPT, str(small_run.run / "bundle"), log, str(killed)]
    lottery, kills = random.Random(0), 0
    with ExitStack() as stack:
        processes = [
            stack.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
            for _ in range(3)
        ]
        for process in processes:
            assert process.stdout.readline() == b"loaded\n"
            process.stdin.write(b"go\n")
            process.stdin.flush()
            time.sleep(lottery.random() * seconds)
            process.kill()
            kills += process.wait() == -signal.SIGKILL
            if (killed / "manifest.json").exists():
                score(retriever, killed, **settings)  # which may have been killed before it cleared up
                assert contents(killed) == expected
                shutil.rmtree(killed)
    assert kills
    score(retriever, killed, **settings)
    assert contents(killed) == expected


def test_scoring_continues_after_a_full_disk(small_run, retriever, tmp_path, many_partitions, monkeypatch):
    settings = {"events": str(small_run.folder / "events.parquet"), "k": 10}
    real, writes = os.fsync, []

    def failing_at(number):
        def fsync(descriptor):
            writes.append(descriptor)
            if len(writes) == number:
                raise OSError("disk full")
            real(descriptor)

        writes.clear()
        monkeypatch.setattr(os, "fsync", fsync)

    failing_at(None)
    score(retriever, tmp_path / "whole", **settings)
    for number in (1, len(writes) // 3, len(writes) // 2, len(writes) - 1):
        out = tmp_path / f"failed-at-{number}"
        failing_at(number)
        with pytest.raises(OSError, match="disk full"):
            score(retriever, out, **settings)
        assert not list(out.rglob("*.partial"))
        finished = {path: path.stat().st_mtime_ns for path in out.glob("part-*") if path.with_suffix(".json").exists()}
        failing_at(None)
        score(retriever, out, **settings)
        assert contents(out) == contents(tmp_path / "whole")
        assert finished == {path: path.stat().st_mtime_ns for path in finished}  # what is finished is not written again


def test_finished_scores_are_reused(small_run, run, tmp_path):
    source = {"events": str(small_run.folder / "events.parquet")}
    run(**source)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "recs").iterdir()}
    run(**source)
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "recs").iterdir()}


def test_another_input_or_setting_needs_another_folder(small_run, run, tmp_path):
    source = {"events": str(small_run.folder / "events.parquet")}
    run(**source)
    before = contents(tmp_path / "recs")
    small_run.events.head(100).write_parquet(tmp_path / "other.parquet")
    queries = small_run.dataset.queries("test").select("user_id", "history")
    queries.write_parquet(tmp_path / "queries.parquet")
    for other, name in (
        ({"events": str(tmp_path / "other.parquet")}, "digest"), (source | {"k": 11}, "k"),
        (source | {"exclude_seen": False}, "exclude_seen"), ({"queries": str(tmp_path / "queries.parquet")}, "input"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=f"holds scores of another {name} .*; give a new --out"):
            run(**other)
    assert contents(tmp_path / "recs") == before


def test_a_foreign_folder_is_left_alone(small_run, run, tmp_path):
    (tmp_path / "recs").mkdir()
    (tmp_path / "recs" / "thesis.txt").touch()
    with pytest.raises(ValueError, match="holds something other than scores; choose another --out"):
        run(events=str(small_run.folder / "events.parquet"))
    assert [path.name for path in (tmp_path / "recs").iterdir()] == ["thesis.txt"]
    (tmp_path / "recs" / "thesis.txt").unlink()
    (tmp_path / "recs").rmdir()
    (tmp_path / "recs").touch()
    with pytest.raises(ValueError, match="recs is a file"):
        run(events=str(small_run.folder / "events.parquet"))
