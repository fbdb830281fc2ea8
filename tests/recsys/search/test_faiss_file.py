"""FAISS files of every kind, changed where FAISS would trust them."""

import numpy as np
import pytest

from recsys.search import index as index_module
from recsys.search.faiss_file import FaissFile
from recsys.search.index import ItemIndex
from recsys.search.index_kinds import KINDS
from tests.search_worlds import catalogue


@pytest.mark.parametrize("kind", list(KINDS))
def test_every_number_that_matters_is_checked(kind, tmp_path, monkeypatch):
    """Any changed number before the vectors, and any changed vector, is refused or leaves an index that answers."""
    monkeypatch.setattr(index_module, "FEWEST_CODED", 1)
    vectors_ND, _ = catalogue(300)
    index = ItemIndex.build(vectors_ND, kind=kind)
    index.save(tmp_path / "index.faiss")
    content = np.fromfile(tmp_path / "index.faiss", np.uint8)
    rng, refused = np.random.default_rng(0), 0
    places = [*range(0, 120, 4), *rng.integers(0, len(content) - 8, 100).tolist()]
    for place in places:
        bad = content.copy()
        bad[place : place + 4] = np.frombuffer(np.int32(rng.choice([2**31 - 1, -2, 299, 10**6])).tobytes(), np.uint8)
        try:
            changed = ItemIndex.load(bad, vectors_ND, index.spec)
        except ValueError:
            refused += 1
        else:
            positions, _ = changed.search(vectors_ND[1:3], 300)
            assert (np.sort(positions, axis=1) == np.arange(1, 301)).all()
    assert refused >= len(places) * ({"exact": 0.99, "bytes": 0.99, "codes": 0.2}.get(kind, 0.6))


def test_a_list_must_not_hold_an_item_twice(tmp_path):
    vectors_ND, _ = catalogue(300)
    index = ItemIndex.build(vectors_ND, kind="ivf")
    index.save(tmp_path / "index.faiss")
    content = np.fromfile(tmp_path / "index.faiss", np.uint8)
    last, before = content[-8:].copy(), content[-16:-8].copy()
    for ids, fault in (
        (before, "its vectors are others"),
        (np.full(8, 255, np.uint8), "names an item that there is not"),
    ):
        content[-8:] = ids
        with pytest.raises(ValueError, match=fault):
            ItemIndex.load(content, vectors_ND, index.spec)
    content[-8:] = last
    assert ItemIndex.load(content, vectors_ND, index.spec)


def test_a_file_is_never_read_beyond_its_end():
    file = FaissFile(np.frombuffer(b"\xff" * 8 + b"\x01", np.uint8))
    with pytest.raises(ValueError, match="it ends too early"):
        file.vector("<i8")
    with pytest.raises(ValueError, match="it goes on after its end"):
        file.end()
