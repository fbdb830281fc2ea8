"""The bytes of a bundle are read once: what happens to the files afterwards changes nothing."""

import collections
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from recsys.bundle import contents as contents_module, load_bundle, save_bundle
from recsys.bundle.contents import Contents
from recsys.bundle.seal import seal, sealed
from recsys.errors import BundleError
from recsys.retriever import Retriever
from recsys.search import ItemIndex

ROOT = Path(__file__).parents[3]


def reseal(folder):
    (folder / "manifest.json").unlink()
    seal(folder)


def test_files_cut_under_a_running_process_change_no_answer(copy, small_run):
    history = [small_run.items.get_column("item_id").head(5).to_list()]
    retriever = Retriever.load(copy)
    before = retriever.recommend(history).to_frame()
    for member in copy.iterdir():
        os.truncate(member, 0)  # a map of it would now kill the process
    assert retriever.recommend(history).to_frame().equals(before)
    assert len(retriever.similar_items(history[0][:1], where=[("year", ">", 0)]))
    assert retriever.search_text(["harbour"], k=3).titles is not None


def test_large_members_are_mapped_and_load_the_same(copy, monkeypatch):
    bundle, bundle_id = load_bundle(copy)
    monkeypatch.setattr(contents_module, "IN_MEMORY", 100)
    mapped, mapped_id = load_bundle(copy)
    assert mapped_id == bundle_id
    assert np.array_equal(mapped.item_vectors, bundle.item_vectors)
    assert mapped.items.equals(bundle.items)
    mapped.item_vectors[0] = 1.0  # a private copy
    assert load_bundle(copy)[1] == bundle_id


@pytest.mark.parametrize("mapped", [False, True])
def test_processes_share_the_memory_of_a_mapped_bundle(copy, small_run, monkeypatch, mapped):
    monkeypatch.setattr(contents_module, "SHARED", 100)
    history = [small_run.items.get_column("item_id").head(5).to_list()]
    retriever = Retriever.load(copy, mapped=mapped)
    before = retriever.recommend(history).to_frame()
    maps = Path("/proc/self/maps").read_text()
    assert (str(copy / "vectors.npy") in maps) == mapped
    assert str(copy / "index.faiss") not in maps, "the exact index has a second copy of the vectors"
    for member in list(copy.iterdir()):  # as a publisher does: another file in its place
        (copy / "new").write_bytes(b"")
        (copy / "new").rename(member)
    assert retriever.recommend(history).to_frame().equals(before)
    assert retriever.search_text(["harbour"], k=3).titles is not None


def test_processes_share_the_bytes_of_an_index_too(copy, small_run, monkeypatch, tmp_path):
    monkeypatch.setattr(contents_module, "SHARED", 100)
    exact, _ = load_bundle(copy)
    index = ItemIndex.build(exact.item_vectors, kind="bytes")
    save_bundle(replace(exact, index=index), tmp_path / "bytes")
    history = [small_run.items.get_column("item_id").head(5).to_list()]
    retriever = Retriever.load(tmp_path / "bytes", mapped=True)
    expected = Retriever(exact, "id").recommend(history).to_frame()
    assert retriever.recommend(history).to_frame().equals(expected)
    maps = Path("/proc/self/maps").read_text()
    assert all(str(tmp_path / "bytes" / name) in maps for name in ("vectors.npy", "index.faiss"))


def test_any_error_inside_a_member_is_one_line_that_names_it(copy):
    contents = Contents(copy)
    fault = r"model\.json does not fit the bundle \(first\); fetch or publish it again$"
    with pytest.raises(BundleError, match=fault), contents.member("model.json"):
        raise MemoryError("first\nsecond")


@pytest.mark.parametrize("name", ["more.bin", "WEIGHTS.SAFETENSORS"])
def test_only_the_members_of_a_bundle_may_be_sealed(copy, name):
    (copy / name).write_bytes(b"x")
    reseal(copy)
    with pytest.raises(BundleError, match=rf"{re.escape(name)} is no part of such a bundle"):
        load_bundle(copy)
    (copy / name).unlink()
    (copy / "counts.npy").unlink()
    reseal(copy)
    with pytest.raises(BundleError, match=r"counts\.npy is not in it"):
        load_bundle(copy)


def test_a_manifest_cannot_name_another_bundle(copy):
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest.pop("digest")
    (copy / "manifest.json").write_bytes(sealed(manifest | {"bundle_id": "0" * 64}))
    with pytest.raises(BundleError, match="was changed"):
        load_bundle(copy)


def test_a_document_of_any_size_is_refused_before_it_is_read(copy):
    os.truncate(copy / "encoder.json", 200 << 20)
    reseal(copy)
    with pytest.raises(BundleError, match=r"encoder\.json is too large"):
        load_bundle(copy)


FIFTY = """
import shutil, sys
from pathlib import Path
from benchmarks.bundle_mutations import mutate
from benchmarks.resealed_bundles import bundles, load_and_ask
out = Path(sys.argv[2])
sources = [*bundles(Path(sys.argv[1]), out).values(), Path(sys.argv[3])]
for seed in range(50):
    shutil.copytree(sources[seed % 4], out / str(seed))
    mutation = mutate(out / str(seed), seed)
    print(mutation, "|", load_and_ask(out / str(seed)), flush=True)
"""


def test_50_resealed_bundles_are_refused_or_sound(small_run, baseline_bundles, tmp_path):
    """The first of benchmarks/resealed_bundles.py; in another process, which a crash would kill."""
    command = [sys.executable, "-c", FIFTY, str(small_run.run / "bundle"), str(tmp_path), str(baseline_bundles["ease"])]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout[-500:]}{done.stderr[-2000:]}"
    verdicts = collections.Counter(line.split(" | ")[-1].split()[0] for line in done.stdout.splitlines())
    assert verdicts.total() == 50
    assert set(verdicts) == {"refused", "sound"}
    assert verdicts["refused"] >= 35
