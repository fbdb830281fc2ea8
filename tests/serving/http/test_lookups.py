"""What is looked up one at a time is what the retriever and MLflow's server say."""

import pandas as pd
import pytest

from recsys import pyfunc


def ids(answer):
    return [item["item_id"] for item in answer["items"]]


def test_similar_items_are_the_retriever_s(client, retriever):
    where = [["year", ">=", 1950]]
    answer = client.post("/v1/similar", json={"item_id": "i00007", "k": 4, "where": where, "columns": ["year"]}).json()
    assert ids(answer) == retriever.similar_items(["i00007"], k=4, where=where).item_ids[0].to_list()
    assert all(item["year"] >= 1950 for item in answer["items"])


def test_search_is_the_retriever_s(client, retriever):
    answer = client.post("/v1/search", json={"text": "a garden", "k": 4}).json()
    assert ids(answer) == retriever.search_text(["a garden"], k=4).item_ids[0].to_list()


def test_search_takes_columns_of_the_item_and_says_why_it_has_no_answer(client, retriever):
    answer = client.post("/v1/search", json={"text": "harbour", "item": {"year": 1950, "tags": ["a"]}, "k": 4}).json()
    expected = retriever.search_text(["harbour"], columns={"year": [1950], "tags": [["a"]]}, k=4)
    assert (
        ids(answer) == expected.item_ids[0].to_list() != retriever.search_text(["harbour"], k=4).item_ids[0].to_list()
    )
    assert "no column" in client.post("/v1/search", json={"text": "a", "item": {"colour": 1}}).json()["error"]
    nothing = client.post("/v1/search", json={"text": "?!"}).json()
    assert (nothing["items"], nothing["reason"]) == ([], "no items: the text has no letter and no digit")


def test_an_explanation_is_the_retriever_s(client, retriever):
    history = ["i00001", "i00002", "i00003"]
    answer = client.post("/v1/explain", json={"history": history, "item_id": "i00007"}).json()
    expected = retriever.explain(history, "i00007")
    assert (answer["score"], answer["rank"]) == (pytest.approx(expected.score), expected.rank)
    assert [row["item_id"] for row in answer["contributions"]] == expected.contributions["item_id"].to_list()


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/similar", {"item_id": "nothing"}, 400), ("/v1/similar", {"item_id": 7}, 400),
        ("/v1/search", {"text": ["garden"]}, 422), ("/v1/explain", {"item_id": "i00007"}, 400),
        ("/invocations", {}, 400), ("/invocations", {"dataframe_records": [{"history": "i00007"}]}, 400),
        ("/invocations", {"dataframe_records": [{"history": [], "k": 1001}]}, 422),
        ("/invocations", {"dataframe_records": [{"history": []}], "params": {"k": 1e9}}, 422),
        ("/invocations", {"dataframe_split": {"columns": ["history"], "data": [[]]}}, 400),
    ],
)  # fmt: skip
def test_what_cannot_be_looked_up_is_refused(client, path, body, status):
    assert client.post(path, json=body).status_code == status


def test_records_are_answered_as_by_mlflow_s_server(client, retriever):
    records = [{"history": ["i00007", "i00012"], "k": 3}, {"history": []}]
    expected = pyfunc.Served(retriever).predict(pd.DataFrame(records, dtype=object), {"k": 5})
    split = {"columns": ["history", "k"], "data": [[r["history"], r.get("k")] for r in records]}
    for form in ({"dataframe_records": records}, {"dataframe_split": split}):
        answer = client.post("/invocations", json=form | {"params": {"k": 5}}).json()
        assert answer["predictions"] == expected.to_dict(orient="records")
        assert len(answer["predictions"][1]["item_ids"]) == 5
