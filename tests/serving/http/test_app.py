"""Requests and answers as JSON, over a socket."""

import pytest


def test_a_known_user_gets_the_retriever_s_answer_with_titles(client, retriever, small_run):
    user = small_run.events.get_column("user_id")[0]
    expected = retriever.recommend(user_ids=[user], k=3)
    response = client.post("/v1/recommend", json={"user_id": user, "k": 3, "columns": ["title"]})
    answer = response.json()
    assert response.status_code == 200
    assert [item["item_id"] for item in answer["items"]] == expected.item_ids[0].to_list()
    assert all(item["title"] for item in answer["items"])
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


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"history": ["i00001"], "k": 0}, 422, "k"),
        ({"history": ["i00001"], "where": [["colour", "==", "red"]]}, 400, "no column 'colour'"),
        ({"histroy": ["i00001"]}, 422, "histroy"),
        ({}, 400, "history"),
    ],
)
def test_a_bad_request_is_one_line(client, body, status, said):
    response = client.post("/v1/recommend", json=body)
    assert response.status_code == status
    assert said in response.json()["error"]
    assert "\n" not in response.json()["error"]


def test_health_names_the_version(client, retriever):
    assert client.get("/health/live").json() == {"status": "live"}
    assert client.get("/health/ready").json()["bundle_id"] == retriever.bundle_id
