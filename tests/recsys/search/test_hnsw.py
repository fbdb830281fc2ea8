from recsys.search import hnsw
from recsys.search.index import ItemIndex


def test_an_unreachable_target_records_the_recall_of_the_last_setting(world, monkeypatch):
    monkeypatch.setattr(hnsw, "EF_SEARCH_LADDER", (128,))
    spec = ItemIndex.build(world[0][:3_001], kind="hnsw", target_recall=1.0, query_vectors_BD=world[1]).spec
    assert spec.ef_search == 128
    assert 0.5 < spec.recall < 1.0
