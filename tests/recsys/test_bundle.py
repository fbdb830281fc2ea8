"""A bundle is whole, or refused before anything in it is parsed."""

import io
import json
import shutil
import tokenize
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import recsys
from recsys import bundle as bundles, files
from recsys.bundle import load_bundle, save_bundle, verify, with_metadata
from recsys.retriever import Retriever
from training import publish

MEMBERS = {
    "counts.npy", "encoder.json", "features.arrow", "index.faiss", "items.arrow", "manifest.json", "model.json",
    "users.arrow", "vectors.npy", "weights.safetensors",
}  # fmt: skip


@pytest.fixture
def copy(small_run, tmp_path):
    """A bundle to damage."""
    return Path(shutil.copytree(small_run.run / "bundle", tmp_path / "copy"))


def test_what_is_in_it(small_run):
    assert {path.name for path in (small_run.run / "bundle").iterdir()} == MEMBERS


def test_saved_and_loaded_it_answers_alike_under_the_same_id(small_run, tmp_path):
    bundle, bundle_id = load_bundle(small_run.run / "bundle")
    before = Retriever(bundle, bundle_id)
    again, again_id = load_bundle(_saved(bundle, tmp_path / "elsewhere" / "b"))
    assert again_id == bundle_id == small_run.bundle_id
    histories = small_run.dataset.queries("test").get_column("history")
    first, second = before.recommend(histories, k=20), Retriever(again, again_id).recommend(histories, k=20)
    assert first.item_ids.equals(second.item_ids)
    assert first.scores.equals(second.scores)
    for name in MEMBERS:
        assert files.sha256(small_run.run / "bundle" / name) == files.sha256(tmp_path / "elsewhere" / "b" / name)


def _saved(bundle, path):
    save_bundle(bundle, path)
    return path


def test_the_id_follows_the_content(small_run, tmp_path):
    bundle, bundle_id = load_bundle(small_run.run / "bundle")
    counts = bundle.item_counts.copy()
    counts[1] += 1
    assert save_bundle(bundles.replace(bundle, item_counts=counts), tmp_path / "other") != bundle_id


def test_200_changed_bytes_are_200_refusals(copy, monkeypatch):
    def parsed(*arguments, **settings):
        raise AssertionError("parsed before it was verified")

    for reader in ("read_table", "load_file"):
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


def test_a_foreign_member_is_refused(copy):
    (copy / "notes").mkdir()
    with pytest.raises(ValueError, match="notes does not belong to it"):
        verify(copy)
    (copy / "notes").rmdir()
    (copy / ".hidden").touch()
    with pytest.raises(ValueError, match=r"\.hidden does not belong to it"):
        verify(copy)


@pytest.mark.parametrize(("step", "remedy"), [(1, "upgrade recsys"), (-1, "publish it again")])
def test_another_format_is_refused(copy, step, remedy):
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest.pop("digest")
    (copy / "manifest.json").write_bytes(bundles._sealed(manifest | {"format": bundles.FORMAT + step}))
    with pytest.raises(ValueError, match=f"has format {bundles.FORMAT + step}, this release reads .*: {remedy}"):
        verify(copy)


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"null", b"\xff", b'{"digest": 1}', b"[" * 100])
def test_a_manifest_that_is_none_is_refused(copy, content):
    (copy / "manifest.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"manifest\.json was changed"):
        verify(copy)


def test_an_unfinished_or_absent_folder_is_no_bundle(copy, tmp_path):
    (copy / "manifest.json").unlink()
    for path in (copy, tmp_path / "nothing", tmp_path):
        with pytest.raises(ValueError, match=r"no bundle at .* as `recsys publish` writes it"):
            load_bundle(path)


def test_a_failed_save_leaves_the_old_bundle(small_run, copy, monkeypatch):
    bundle, bundle_id = load_bundle(copy)
    monkeypatch.setattr(bundles, "write_table", _fails)
    with pytest.raises(OSError, match="disk full"):
        save_bundle(bundle, copy)
    assert verify(copy) == bundle_id
    assert [path.name for path in copy.parent.iterdir()] == ["copy"]


def _fails(*arguments):
    raise OSError("disk full")


def test_a_damaged_bundle_is_made_anew_by_publishing(small_run, copy):
    trained = publish.checkpoint.load(
        small_run.run / "model.safetensors", publish.training_identity(small_run.config, small_run.dataset)
    )
    (copy / "counts.npy").unlink()
    assert publish.seal(small_run.config, small_run.dataset, trained, copy) == small_run.bundle_id
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


# today's metadata


@pytest.fixture
def bundle(small_run):
    return load_bundle(small_run.run / "bundle")[0]


def test_the_same_metadata_changes_nothing(small_run, bundle):
    same = with_metadata(
        bundle, items=str(small_run.folder / "items.parquet"), users=str(small_run.folder / "users.parquet")
    )
    assert same.items.equals(bundle.items)
    assert same.item_features.equals(bundle.item_features)
    assert same.users.sort("user_id").equals(bundle.users.sort("user_id"))
    np.testing.assert_allclose(same.item_vectors, bundle.item_vectors, atol=1e-6)
    assert same.index.spec.kind == bundle.index.spec.kind


def test_new_items_are_appended_and_placed_by_their_metadata(small_run, bundle, tmp_path):
    old = bundle.items.row(0, named=True)
    twin = {name: old[name] for name in ("title", "genre", "tags", "year")}
    rows = pl.DataFrame([
        {"item_id": "zz", **twin}, {"item_id": "new", **twin},
        {"item_id": old["item_id"], **twin, "year": old["year"] + 50},
    ]).with_columns(shelf=pl.lit("A"))  # fmt: skip
    rows.write_parquet(tmp_path / "items.parquet")
    newer = with_metadata(bundle, items=str(tmp_path / "items.parquet"))
    ids, n = newer.encoder.item_ids, bundle.encoder.num_items
    assert ids.to_list() == [*bundle.encoder.item_ids, "new", "zz"]
    assert newer.encoder.num_trained == bundle.encoder.num_trained
    assert newer.item_counts.tolist() == [*bundle.item_counts, 0, 0]
    assert newer.items["shelf"].to_list() == ["A", *[None] * (n - 1), "A", "A"]
    assert newer.items["year"][0] == old["year"] + 50
    assert newer.items[1:n].drop("shelf").equals(bundle.items[1:])
    np.testing.assert_array_equal(newer.item_vectors[n + 1], newer.item_vectors[n + 2])
    trained = slice(2, bundle.encoder.num_trained + 1)  # a cold one may be less like the first now
    np.testing.assert_allclose(newer.item_vectors[trained], bundle.item_vectors[trained], atol=1e-6)
    moved = newer.item_vectors[1] - bundle.item_vectors[1]
    weights = [tower.metadata.dense.weight[:, 0] for tower in bundle.model.item_towers]
    year = bundle.model.side_by_side(weights) * 50 / bundle.encoder.item_transforms[3].scale
    np.testing.assert_allclose(moved, year.numpy(), atol=1e-5)  # its id row stayed, its year moved
    answers = Retriever(newer, "id").recommend([[old["item_id"]]], k=n + 2)
    assert set(answers.item_ids[0]) == set(ids) - {old["item_id"]}


def test_new_users_join_and_known_ones_are_replaced(small_run, bundle, tmp_path):
    known = bundle.users["user_id"][0]
    pl.DataFrame({"user_id": ["new", known], "age": [20, None]}).write_parquet(tmp_path / "users.parquet")
    newer = with_metadata(bundle, users=str(tmp_path / "users.parquet"))
    assert sorted(newer.users["user_id"]) == sorted([*bundle.users["user_id"], "new"])
    assert newer.users.filter(user_id=known)["age"][0].to_list() == [0.0, 1.0]
    assert newer.items is bundle.items


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda items: items.drop("genre"), "items at .* has no column 'genre'"),
        (lambda items: items.with_columns(item_id=pl.lit(1)), "item_id is Int32 in items but String"),
        (lambda items: items.with_columns(year=pl.lit("old")), "do not fit the bundle's metadata"),
    ],
)
def test_metadata_that_does_not_fit_is_refused(small_run, bundle, tmp_path, change, message):
    change(small_run.items).write_parquet(tmp_path / "items.parquet")
    with pytest.raises(ValueError, match=message) as raised:
        with_metadata(bundle, items=str(tmp_path / "items.parquet"))
    assert "\n" not in str(raised.value)
