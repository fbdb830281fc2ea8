"""The index of words is sealed with the bundle, and what is unsound is refused."""

import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recsys.bundle import load_bundle
from recsys.bundle.lexical_members import LEXICAL_MEMBERS
from recsys.bundle.seal import seal
from recsys.data import joined_texts, write_arrow
from recsys.errors import BundleError
from recsys.lexical import LexicalIndex


@pytest.fixture
def copy(small_run, tmp_path):
    return Path(shutil.copytree(small_run.run / "bundle", tmp_path / "copy"))


def test_a_bundle_that_reads_texts_has_the_index_of_them(small_run):
    bundle, _ = load_bundle(small_run.run / "bundle", mapped=True)
    built = LexicalIndex.build(joined_texts(bundle.encoder.item_transforms, bundle.items))
    assert bundle.lexical.words.equals(built.words)
    for name in ("offsets", "positions", "scores", "num_items", "stopwords"):
        np.testing.assert_array_equal(getattr(bundle.lexical, name), getattr(built, name))
    assert bundle.user_texts.null_count() == bundle.users.height
    assert bundle.texts_of(np.array([0, 1])) == [None, None]
    assert {member.name for member in (small_run.run / "bundle").iterdir()} > LEXICAL_MEMBERS


def test_a_bundle_without_text_has_none(integer_bundle):
    bundle, _ = load_bundle(integer_bundle)
    assert bundle.lexical is bundle.text_weights is bundle.user_texts is None
    assert not {member.name for member in integer_bundle.iterdir()} & LEXICAL_MEMBERS


def change(path, alter):
    if path.suffix == ".npy":
        np.save(path, alter(np.load(path)))
    else:
        write_arrow(alter(pl.read_ipc(path.read_bytes())), path)


@pytest.mark.parametrize(
    ("name", "alter", "fault"),
    [
        ("words.arrow", lambda table: table.reverse(), "out of order"),
        ("words.arrow", lambda table: pl.concat([table[:-1], table[-2:-1]]), "out of order, or repeated"),
        ("words.arrow", lambda table: table.rename({"word": "title"}), "expected word of strings"),
        ("words.arrow", lambda table: table[:-1], r"word_offsets\.npy does not fit"),
        ("word_offsets.npy", lambda offsets: offsets + 1, "out of order"),
        ("word_positions.npy", lambda positions: positions * 0, "no item"),
        ("word_positions.npy", lambda positions: np.full_like(positions, 201), "no item"),
        ("word_positions.npy", lambda positions: positions[::-1].copy(), "out of order for its word"),
        ("word_scores.npy", lambda scores: np.full_like(scores, np.nan), "not finite"),
        ("word_scores.npy", lambda scores: scores[:-1], "it holds float32"),
        ("user_texts.arrow", lambda table: table[:-1], "users"),
    ],
)
def test_an_index_of_something_else_is_refused(copy, name, alter, fault):
    change(copy / name, alter)
    (copy / "manifest.json").unlink()
    seal(copy)
    with pytest.raises(BundleError, match=fault):
        load_bundle(copy)


def test_a_missing_member_is_refused(copy):
    (copy / "word_scores.npy").unlink()
    (copy / "manifest.json").unlink()
    seal(copy)
    with pytest.raises(BundleError, match=r"word_scores\.npy is not in it"):
        load_bundle(copy)
