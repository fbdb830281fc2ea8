"""Arrays and weights hold what the rest of a bundle implies, or are refused before anything is allocated."""

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save

from recsys.bundle import load_bundle
from recsys.bundle.arrays import load_weights, read_vectors
from recsys.bundle.seal import seal
from recsys.errors import BundleError
from recsys.model import TwoTower
from tests.small_models import RICH, make


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return np.frombuffer(file.getvalue(), np.uint8)


VECTORS = np.arange(12, dtype=np.float32).reshape(4, 3)


def test_arrays_are_read_as_written():
    assert np.array_equal(read_vectors(npy(VECTORS), 3, 3), VECTORS)


@pytest.mark.parametrize(
    ("array", "fault"),
    [
        (VECTORS[1:], r"it holds float32 \(3, 3\), expected float32 \(4, 3\)"),
        (VECTORS.astype(np.float64), "it holds float64"),
        (np.asfortranarray(VECTORS), "it holds float32"),
        (VECTORS.astype(">f4"), "it holds >f4"),
        (np.full_like(VECTORS, np.nan), "not finite"),
        (np.full_like(VECTORS, 1e30), "far too long"),
    ],
)
def test_other_vectors_are_refused(array, fault):
    with pytest.raises(ValueError, match=fault):
        read_vectors(npy(array), 3, 3)


def resealed(folder, name, array):
    np.save(folder / name, array)
    (folder / "manifest.json").unlink()
    seal(folder)
    return folder


@pytest.mark.parametrize(("place", "count"), [(1, -1), (0, 1), (1, 2**62), (1, -(2**63))])
def test_counts_that_no_log_has_are_refused(copy, place, count):
    counts = np.load(copy / "counts.npy")
    counts[place] = count
    with pytest.raises(BundleError, match=r"counts\.npy does not fit the bundle \(an item has fewer than 0"):
        load_bundle(resealed(copy, "counts.npy", counts))


@pytest.mark.parametrize(
    ("name", "change", "fault"),
    [
        ("offsets", lambda offsets: offsets[::-1].copy(), "out of order"),
        ("offsets", lambda offsets: np.maximum(offsets, 1), "out of order"),
        ("offsets", lambda offsets: offsets * 2, "it holds int32"),
        ("neighbours", lambda neighbours: neighbours * 0, "is no item"),
        ("neighbours", lambda neighbours: neighbours + 10**6, "is no item"),
        ("neighbours", lambda neighbours: neighbours[::-1].copy(), "out of order in its row"),
        ("weights", lambda weights: weights / 0, "not finite"),
    ],
)
def test_a_matrix_that_no_baseline_has_is_refused(baseline_bundles, tmp_path, name, change, fault):
    folder = Path(shutil.copytree(baseline_bundles["item_knn"], tmp_path / "copy"))
    with np.errstate(all="ignore"):
        changed = change(np.load(folder / f"{name}.npy"))
    with pytest.raises(BundleError, match=fault):
        load_bundle(resealed(folder, f"{name}.npy", changed))


def test_a_header_that_lies_about_the_size_allocates_nothing():
    content = npy(VECTORS)
    for bad in (content[:-1], np.append(content, content), content[:50], content[:0]):
        with pytest.raises(ValueError):  # noqa: PT011  # also NumPy's own
            read_vectors(bad, 3, 3)
    with pytest.raises(ValueError, match=r"it holds float32 \(4, 3\), expected float32 \(1099511627777, 3\)"):
        read_vectors(content, 2**40, 3)


def empty_model():
    with torch.device("meta"):
        return TwoTower(RICH)


def test_weights_are_given_to_a_model_that_has_none():
    model, restored = make(RICH, torch.float32), empty_model()
    load_weights(restored, np.frombuffer(bytearray(save(model.state_dict())), np.uint8))
    for name, weight in model.state_dict().items():
        assert torch.equal(restored.state_dict()[name], weight)


def test_other_weights_are_refused():
    weights = make(RICH, torch.float32).state_dict()
    name = next(name for name, weight in weights.items() if weight.ndim == 2)
    good = save(weights)
    size = int.from_bytes(good[:8], "little")
    header = json.loads(good[8 : 8 + size])

    def with_header(**changed):
        text = json.dumps(header | {name: header[name] | changed}).encode()
        return len(text).to_bytes(8, "little") + text + good[8 + size :]

    begin, end = header[name]["data_offsets"]
    for fault, content in (
        ("implies other weights", save({n: w for n, w in weights.items() if n != name})),
        ("implies other weights", save(weights | {"more": torch.zeros(1)})),
        ("expected F32", save(weights | {name: weights[name].double()})),
        ("expected F32", save(weights | {name: weights[name][:-1].clone()})),
        ("is not finite", save(weights | {name: torch.full_like(weights[name], torch.inf)})),
        ("expected F32", with_header(shape=[2**40, 2**20])),
        ("expected F32", with_header(data_offsets=[begin + 4, end + 4])),
        ("data_offsets", with_header(data_offsets=[begin])),
        ("goes on after its last", good + b"\x00\x00\x00\x00"),
        ("its header does not fit its size", b"\xff" * 7 + b"\x7f" + good[8:]),
    ):
        with pytest.raises(ValueError, match=fault):
            load_weights(empty_model(), np.frombuffer(bytearray(content), np.uint8))
