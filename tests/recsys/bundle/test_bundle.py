"""A bundle is whole, or refused before anything in it is parsed."""

import io
import tokenize
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import recsys
from recsys import files
from recsys.bundle import bundle as bundles, load_bundle, save_bundle, verify
from recsys.bundle.lexical_members import LEXICAL_MEMBERS
from recsys.retriever import Retriever
from training import publish

MEMBERS = {
    "counts.npy", "encoder.json", "features.arrow", "index.faiss", "items.arrow", "manifest.json", "model.json",
    "users.arrow", "vectors.npy", "weights.safetensors",
}  # fmt: skip


def test_what_is_in_it(small_run):
    assert {path.name for path in (small_run.run / "bundle").iterdir()} == MEMBERS | LEXICAL_MEMBERS


def test_everybody_may_read_it_whom_the_umask_allows(small_run):
    artifacts = [*(small_run.run / "bundle").iterdir(), *small_run.run.glob("*.safetensors")]
    assert len(artifacts) > len(MEMBERS)
    assert len({path.stat().st_mode & 0o777 for path in artifacts}) == 1
    small_run_files = (small_run.folder / "events.parquet").stat().st_mode & 0o777  # written by Polars
    assert artifacts[0].stat().st_mode & 0o777 == small_run_files


def test_saved_and_loaded_it_answers_alike_under_the_same_id(small_run, tmp_path):
    bundle, bundle_id = load_bundle(small_run.run / "bundle")
    before = Retriever(bundle, bundle_id)
    again, again_id = load_bundle(_saved(bundle, tmp_path / "elsewhere" / "b"))
    assert again_id == bundle_id == small_run.bundle_id
    histories = small_run.dataset.queries("test").get_column("history")
    first, second = before.recommend(histories, k=20), Retriever(again, again_id).recommend(histories, k=20)
    assert first.item_ids.equals(second.item_ids)
    assert first.scores.equals(second.scores)
    for name in MEMBERS | LEXICAL_MEMBERS:
        assert files.sha256(small_run.run / "bundle" / name) == files.sha256(tmp_path / "elsewhere" / "b" / name)


def _saved(bundle, path):
    save_bundle(bundle, path)
    return path


def test_the_id_follows_the_content(small_run, tmp_path):
    bundle, bundle_id = load_bundle(small_run.run / "bundle")
    counts = bundle.item_counts.copy()
    counts[1] += 1
    assert save_bundle(replace(bundle, item_counts=counts), tmp_path / "other") != bundle_id


def test_200_changed_bytes_are_200_refusals(copy, monkeypatch):
    def parsed(*arguments, **settings):
        raise AssertionError("parsed before it was verified")

    for reader in ("read_table", "load_weights"):
        monkeypatch.setattr(bundles, reader, parsed)
    rng = np.random.default_rng(0)
    members = sorted(copy.iterdir())
    for change in range(200):
        path = members[change % len(members)]
        original = path.read_bytes()
        changed = bytearray(original)
        changed[rng.integers(len(changed))] ^= int(rng.integers(1, 256))
        path.write_bytes(changed)
        with pytest.raises(ValueError, match="was changed after it was sealed"):
            load_bundle(copy)
        path.write_bytes(original)
    assert verify(copy)


@pytest.mark.parametrize("name", sorted(MEMBERS))
def test_a_truncated_or_missing_member_is_refused(copy, name):
    content = (copy / name).read_bytes()
    (copy / name).write_bytes(content[:-1])
    with pytest.raises(ValueError, match=f"{name} was changed"):
        load_bundle(copy)
    (copy / name).unlink()
    with pytest.raises(ValueError, match="no bundle at" if name == "manifest.json" else f"{name} is missing"):
        load_bundle(copy)
    (copy / name).mkdir()
    with pytest.raises(ValueError, match="no bundle at" if name == "manifest.json" else f"{name} was changed"):
        load_bundle(copy)


def test_an_unfinished_or_absent_folder_is_no_bundle(copy, tmp_path):
    (copy / "manifest.json").unlink()
    for path in (copy, tmp_path / "nothing", tmp_path):
        with pytest.raises(ValueError, match=r"no bundle at .* as `recsys publish` writes it"):
            load_bundle(path)


def test_a_failed_save_leaves_the_old_bundle(small_run, copy, monkeypatch):
    bundle, bundle_id = load_bundle(copy)
    monkeypatch.setattr(bundles, "write_arrow", _fails)
    with pytest.raises(OSError, match="disk full"):
        save_bundle(bundle, copy)
    assert verify(copy) == bundle_id
    assert [path.name for path in copy.parent.iterdir()] == ["copy"]


def _fails(*arguments):
    raise OSError("disk full")


def test_a_damaged_bundle_is_made_anew_by_publishing(small_run, copy):
    trained = publish.checkpoint.load(small_run.run / "model.safetensors")
    (copy / "counts.npy").unlink()
    assert publish.seal(publish.TrainingDescription.read(small_run.run), trained, copy) == small_run.bundle_id
    assert verify(copy) == small_run.bundle_id


def test_no_pickle_anywhere():
    root = Path(recsys.__file__).parents[1]
    for path in (
        file for package in ("recsys", "features", "training", "serving") for file in (root / package).rglob("*.py")
    ):
        names = [token.string for token in tokenize.tokenize(io.BytesIO(path.read_bytes()).readline) if token.type == 1]
        assert not {"pickle", "cloudpickle", "joblib", "dill"} & set(names), path
        text = path.read_text()
        assert text.count("np.load(") == text.count("allow_pickle=False"), path
        assert "torch.load(" not in text, path
