"""A finished or half-finished folder of scores of which anything was damaged: the same bytes again, or one line."""

import os
import shutil
from pathlib import Path

import polars as pl
import pytest

from recsys.errors import InputError
from serving import partition, sources
from serving.batch_scoring import score
from serving.records import PartRecord


def _flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _folder(path):
    path.unlink()
    path.mkdir()
    (path / "thesis.txt").touch()


def _link(path):
    kept = next(parent for parent in path.parents if parent.name == "recs").with_name("elsewhere")
    kept.write_bytes(path.read_bytes())
    path.unlink()
    path.symlink_to(kept)


DAMAGES = {
    "deleted": Path.unlink,
    "emptied": lambda path: path.write_bytes(b""),
    "cut by a byte": lambda path: os.truncate(path, path.stat().st_size - 1),
    "longer by a byte": lambda path: path.write_bytes(path.read_bytes() + b"\n"),
    "a bit flipped": _flip,
    "a folder": _folder,
    "a link": _link,
    "a dangling link": lambda path: (path.unlink(), path.symlink_to("nowhere")),
} | {
    text: lambda path, text=text: path.write_text(text)
    for text in ("[]", "{}", "null", '"x"', "[" * 20_000, '{"counts": [], "files": 1}', "\xff")
}


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.readlink() if path.is_symlink() else path.read_bytes()
        for path in folder.rglob("*")
        if not path.is_dir() or path.is_symlink()
    }


@pytest.fixture
def again(small_run, retriever, tmp_path, monkeypatch):
    """A function: score 20 users, in two partitions, into tmp_path/recs."""
    users = small_run.events.get_column("user_id").unique().sort().head(20)
    log = small_run.events.join(users.to_frame(), on="user_id", how="semi")
    log.write_parquet(tmp_path / "log.parquet")
    monkeypatch.setattr(sources, "EVENTS_PER_PARTITION", log.height // 2 + 1)
    return lambda: score(retriever, tmp_path / "recs", events=str(tmp_path / "log.parquet"), k=300)


def must_repair_or_refuse(again, recs, expected, kept, damage):
    """Damage each file in turn; the copy of the folder is at ``kept``."""
    repaired, refused = set(), set()
    for name in sorted(contents(kept)):
        shutil.rmtree(recs)
        shutil.copytree(kept, recs)
        if not (recs / name).stat().st_size and damage in ("cut by a byte", "a bit flipped"):
            continue
        DAMAGES[damage](recs / name)
        before, refusal = contents(recs), None
        try:
            repaired |= {name} if again().repaired else set()
        except InputError as error:
            refusal = str(error)
            refused.add(name)
        assert contents(recs) == (before if refusal else expected), name
        assert refusal is None or ("\n" not in refusal and str(recs) in refusal)
    return repaired, refused


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage[:12])
def test_a_finished_folder(again, tmp_path, damage):
    again()
    recs = tmp_path / "recs"
    expected = contents(recs)
    shutil.copytree(recs, tmp_path / "kept")
    repaired, refused = must_repair_or_refuse(again, recs, expected, tmp_path / "kept", damage)
    if damage in ("a folder", "a link", "a dangling link"):
        assert refused == set(expected)
    else:
        harmless = {"state.json"} if damage in ("cut by a byte", "longer by a byte") else set()
        assert refused == {"state.json"} - harmless
        unnoticed = {"state.json"} | ({"manifest.json"} if damage == "deleted" else set())  # as if unfinished
        assert repaired >= {name for name in expected if expected[name]} - unnoticed


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage[:12])
def test_a_folder_whose_run_was_killed(again, tmp_path, damage, monkeypatch):
    recs = tmp_path / "recs"
    again()
    expected = contents(recs)
    shutil.rmtree(recs)
    real, written = PartRecord.write, []

    def killed(self, part):
        written.append(part)
        if len(written) == 2:
            raise KeyboardInterrupt
        real(self, part)

    with monkeypatch.context() as patch:
        patch.setattr(PartRecord, "write", killed)
        with pytest.raises(KeyboardInterrupt):
            again()
    assert {"interim/00000.arrow", "interim/manifest.json", "part-00000.json"} < set(contents(recs))
    shutil.copytree(recs, tmp_path / "kept")
    _, refused = must_repair_or_refuse(again, recs, expected, tmp_path / "kept", damage)
    assert not {name for name in refused if name.startswith("interim/")}


def test_only_what_is_damaged_is_written_again(again, tmp_path):
    again()
    recs = tmp_path / "recs"
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in recs.iterdir()}
    damaged = recs / "part-00001.parquet"
    DAMAGES["a bit flipped"](damaged)
    assert again().repaired == ["part-00001.parquet was changed after it was written"]
    for path, (content, modified) in before.items():
        assert path.read_bytes() == content
        assert path.name.startswith(("part-00001", "manifest")) or path.stat().st_mtime_ns == modified
    assert again().repaired == []


def test_a_repair_that_is_killed_is_no_finished_folder(again, tmp_path, monkeypatch):
    again()
    expected = contents(tmp_path / "recs")
    (tmp_path / "recs" / "part-00000.parquet").unlink()

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(partition, "_write_partition", killed)
        with pytest.raises(KeyboardInterrupt):
            again()
    assert not (tmp_path / "recs" / "manifest.json").exists()
    again()
    assert contents(tmp_path / "recs") == expected


def test_a_part_of_other_scores_is_never_mixed_in(again, small_run, retriever, tmp_path):
    again()
    expected, recs = contents(tmp_path / "recs"), tmp_path / "recs"
    others = tmp_path / "others"
    score(retriever, others, events=str(tmp_path / "log.parquet"), k=5)
    for path in others.glob("part-00001*"):
        shutil.copy(path, recs / path.name)
    assert again().repaired == ["part-00001.json belongs to other scores"]
    assert contents(recs) == expected
    shutil.copy(recs / "part-00001.parquet", recs / "part-00007.parquet")
    with pytest.raises(InputError, match=r"part-00007.parquet is none of the 2 parts of these scores; remove it"):
        again()


def test_two_runs_never_write_one_folder(again, tmp_path, monkeypatch):
    seen = []

    def beside(*arguments):
        with pytest.raises(InputError, match="recs is being written by another process"):
            again()
        seen.append(1)
        return real(*arguments)

    real = partition._write_partition
    monkeypatch.setattr(partition, "_write_partition", beside)
    again()
    assert len(seen) == 2
    assert pl.read_parquet(tmp_path / "recs" / "part-*.parquet").get_column("user_id").n_unique() == 20
