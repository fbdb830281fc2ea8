"""MLflow asks with a frame of records, and gets what the retriever answers, record by record."""

import math

import pandas as pd
import pytest

from recsys import pyfunc
from recsys.errors import InputError


@pytest.fixture(scope="module")
def served(small_run):
    return pyfunc._load_pyfunc(str(small_run.run / "bundle"))


def test_each_record_has_its_own_history_and_k(served, retriever):
    histories = [["i00001", "i00002"], ["unknown"], ["i00003"]]
    answers = served.predict(pd.DataFrame({"history": histories, "k": [3, 5, 3]}))
    for row, k in enumerate((3, 5, 3)):
        expected = retriever.recommend([histories[row]], k=k)
        assert answers["item_ids"][row] == expected.item_ids[0].to_list()
        assert answers["scores"][row] == expected.scores[0].to_list()
        assert answers["reason"][row] == expected.reasons[0]
    assert set(answers["bundle_id"]) == {retriever.bundle_id}


def test_k_is_ten_where_it_is_missing(served):
    answers = served.predict(pd.DataFrame({"history": [["i00001"], ["i00001"]], "k": [math.nan, 2]}))
    assert answers["item_ids"].map(len).tolist() == [pyfunc.DEFAULT_K, 2]
    assert len(served.predict(pd.DataFrame({"history": [["i00001"]]}))["item_ids"][0]) == pyfunc.DEFAULT_K


def test_a_known_user_is_served_with_their_metadata(served, retriever, small_run):
    user_id = small_run.users["user_id"][0]
    answers = served.predict(pd.DataFrame({"history": [["i00001"]] * 2, "user_id": [user_id, None]}))
    assert answers["scores"][0] == retriever.recommend([["i00001"]], user_ids=[user_id]).scores[0].to_list()
    assert answers["scores"][1] == retriever.recommend([["i00001"]]).scores[0].to_list()


def test_records_without_a_history_are_refused(served):
    with pytest.raises(InputError, match="records have k; expected history and, optionally, k and user_id"):
        served.predict(pd.DataFrame({"k": [3]}))
