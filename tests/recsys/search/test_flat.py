from recsys.search.exact_request import QuantizedCatalogue
from recsys.search.flat import FLAT
from recsys.search.index import ItemIndex
from tests.search_worlds import assert_same, brute_force


def test_an_exact_index_without_byte_products_answers_from_faiss(world, monkeypatch):
    monkeypatch.setattr(QuantizedCatalogue, "pays", lambda dim: False)
    vectors_ND, users_BD = world
    index = ItemIndex.build(vectors_ND, kind="exact")
    assert_same(index.search(users_BD[:2], 10), brute_force(vectors_ND, users_BD[:2], 10))


def test_the_flat_index_holds_every_item_but_not_row_0(world):
    faiss_index, specs = FLAT.build(world[0])
    assert faiss_index.ntotal == len(world[0]) - 1
    assert [spec.kind for spec in specs] == ["exact"]
