"""The bundle of a baseline: sealed like any other, and read through the same function."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from recsys import files
from recsys.bundle import load_bundle, verify
from recsys.bundle.baseline_bundle import BaselineBundle
from recsys.retriever import Retriever
from training.evaluation import BASELINES
from training.publish_baseline import seal_baseline

MEMBERS = {
    "counts.npy", "encoder.json", "items.arrow", "manifest.json", "model.json", "neighbours.npy", "offsets.npy",
    "users.arrow", "weights.npy",
}  # fmt: skip


@pytest.mark.parametrize("name", [baseline.name for baseline in BASELINES if baseline.fit is not None])
def test_saved_and_loaded_it_is_the_same_bundle(baseline_bundles, tmp_path, name):
    path = baseline_bundles[name]
    assert {member.name for member in path.iterdir()} == MEMBERS
    bundle, bundle_id = load_bundle(path)
    assert isinstance(bundle, BaselineBundle)
    assert bundle.save(tmp_path / "again") == bundle_id == verify(path)
    for member in MEMBERS:
        assert files.sha256(path / member) == files.sha256(tmp_path / "again" / member)


def test_it_says_what_serves_and_holds_no_feature(baseline_bundles, small_run):
    bundle, _ = load_bundle(baseline_bundles["ease"])
    assert Retriever(bundle, "id").baseline == "EASE"
    assert Retriever(*load_bundle(small_run.run / "bundle")).baseline is None
    assert bundle.encoder.item_transforms == bundle.encoder.user_transforms == ()
    assert bundle.users.columns == ["user_id"]
    assert bundle.items.equals(small_run.dataset.items())
    np.testing.assert_array_equal(bundle.item_counts, small_run.dataset.item_counts)


def test_the_same_data_give_the_same_bytes(baseline_bundles, small_run, tmp_path):
    for baseline in (baseline for baseline in BASELINES if baseline.fit is not None):
        expected = verify(baseline_bundles[baseline.name])
        assert seal_baseline(baseline, small_run.dataset, tmp_path / baseline.name) == expected
        assert seal_baseline(baseline, small_run.dataset, tmp_path / baseline.name) == expected  # kept


def test_a_changed_member_is_refused(baseline_bundles, tmp_path):
    copy = Path(shutil.copytree(baseline_bundles["item_knn"], tmp_path / "copy"))
    content = bytearray((copy / "weights.npy").read_bytes())
    content[-1] ^= 1
    (copy / "weights.npy").write_bytes(content)
    with pytest.raises(ValueError, match=r"weights\.npy was changed"):
        load_bundle(copy)
