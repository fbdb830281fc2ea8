"""Recommendations as JSON, over a socket."""

import pytest


def test_a_known_user_gets_the_retriever_s_answer_with_titles(client, retriever, small_run):
    user = small_run.events.get_column("user_id")[0]
    expected = retriever.recommend(user_ids=[user], k=3)
    response = client.post("/v1/recommend", json={"user_id": user, "k": 3, "columns": ["title", "score"]})
    answer = response.json()
    assert response.status_code == 200
    assert [item["item_id"] for item in answer["items"]] == expected.item_ids[0].to_list()
    assert [item["score"] for item in answer["items"]] == pytest.approx(expected.scores[0].to_list())
    assert [item["title"] for item in answer["items"]] == retriever.titles_of(expected.item_ids[0]).to_list()
    assert answer["bundle_id"] == retriever.bundle_id
    assert answer["degraded"] is False
    assert answer["request_id"] == response.headers["X-Request-ID"]


def test_several_requests_are_answered_in_order(client):
    histories = [["i00001"], ["i00002", "i00003"], []]
    body = {"requests": [{"history": history, "k": 2} for history in histories]}
    answers = client.post("/v1/recommend", json=body).json()["answers"]
    alone = [client.post("/v1/recommend", json=request).json() for request in body["requests"]]
    assert [answer["items"] for answer in answers] == [answer["items"] for answer in alone]
    assert [answer["degraded"] for answer in answers] == [False, False, True]
    assert "fallback" in answers[2]["reason"]


def test_a_profile_and_recent_items_come_along(client, retriever, small_run):
    user = small_run.events.get_column("user_id")[0]
    body = {"user_id": user, "recent": ["i00003"], "user": {"age": 70}, "exclude": ["i00009"], "k": 4}
    from recsys.retriever import Query

    expected = retriever.answer([Query(**body)])
    items = client.post("/v1/recommend", json=body).json()["items"]
    assert [item["item_id"] for item in items] == expected.item_ids[0].to_list()
