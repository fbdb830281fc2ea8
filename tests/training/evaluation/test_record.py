"""Records are read as models and written with the same bytes; earlier_release/ holds some of an earlier release."""

from pathlib import Path

import pytest

from recsys.metrics import Interval
from recsys.retriever import ItemMap
from training.evaluation.record import EvaluationRecord, ItemParts

EARLIER = Path(__file__).parent / "earlier_release"


@pytest.mark.parametrize("record", [EvaluationRecord, ItemMap], ids=lambda record: record.FILE)
def test_records_of_an_earlier_release_are_read_and_written_with_the_same_bytes(record, tmp_path):
    record.read(EARLIER).write(tmp_path)
    assert (tmp_path / record.FILE).read_bytes() == (EARLIER / record.FILE).read_bytes()


def test_figures_have_names():
    record = EvaluationRecord.read(EARLIER)
    assert record.headline_of("model") == Interval(0.38405657439288593, 0.37337391629895267, 0.39441885887031214)
    assert record.headline_of("ease") == record.methods["ease"]["ndcg@10"]
    assert set(record.differences) == {"ease", "item_knn", "popularity"}
    assert record.exposure["popularity"].gini_at_10 > record.exposure["model"].gini_at_10 > 0
    short = record.slices[0]
    assert (short.name, short.num_queries) == ("short histories (up to 16)", 1795)
    assert set(short.methods) == {"model", "ease", "item_knn", "popularity"}
    assert record.geometry.effective_rank == pytest.approx(98.294, abs=1e-3)
    assert (record.index.kind, record.index.recall, record.index.num_lists) == ("exact", 1.0, None)


def test_a_model_without_metadata_has_no_item_parts(tmp_path):
    record = EvaluationRecord.read(EARLIER)
    assert record.item_parts == ItemParts(
        both=0.37045281324003493, ids=0.27055618187537794, metadata=0.18704824361268638
    )
    for written in ("{}", "null"):  # an earlier release wrote {}
        text = (EARLIER / record.FILE).read_text()
        parts = text[text.index('"item_parts": {') : text.index("}", text.index('"item_parts": {')) + 1]
        (tmp_path / record.FILE).write_text(text.replace(parts, f'"item_parts": {written}'))
        assert EvaluationRecord.read(tmp_path).item_parts is None


def test_a_record_cannot_be_changed():
    record = EvaluationRecord.read(EARLIER)
    with pytest.raises(ValueError, match="frozen"):
        record.num_queries = 1
