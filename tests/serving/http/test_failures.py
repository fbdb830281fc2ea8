"""A failure is one line without the request's text; a bug is one in the log, and says nothing else."""

import pytest

from serving.http.failures import without_input


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("where: no column 'secret'; the items have title, year", "where: no column '…'; the items have title, year"),
        ("k is 0; expected a whole number", "k is 0; expected a whole number"),
        ("ids are ['a', \"it's\"]; expected such as ('year', 3)", "ids are ['…', '…']; expected such as ('year', 3)"),
        ("it is 'a; expected <b>'; expected a user's list", "it is '…'; expected a user's list"),
        ("it is 'a\\'b\nc' and 'cut", "it is '…' and '…'"),
    ],
)
def test_quoted_text_is_left_out(line, shown):
    assert without_input(line) == shown


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"history": ["i00001"], "k": 0}, 422, "k: "),
        ({"requests": [{"history": []}, {"history": [], "k": "secret"}]}, 422, "requests.1.k: "),
        ({"history": ["i00001"], "where": [["secret", "==", "secret"]]}, 400, "no column '…'; the items have"),
        ({"history": [], "where": [["year", "secret", 1]]}, 400, "no operator '…'"),
        ({"secret": ["i00001"]}, 422, "not known"),
        ({"history": [], "user": {"secret": {"secret": 1}}}, 422, "user: "),
        ({"history": [], "columns": ["secret"]}, 400, "columns"),
        ({}, 400, "history"),
    ],
)
def test_a_bad_request_is_one_line(client, body, status, said):
    response = client.post("/v1/recommend", json=body)
    assert response.status_code == status
    assert said in response.json()["error"]
    assert "\n" not in response.json()["error"]
    assert "secret" not in response.text


def test_a_bug_is_logged_and_tells_the_caller_nothing(client, service, monkeypatch, caplog):
    def fault(*_):
        raise RuntimeError("a secret of ours")

    monkeypatch.setattr(service, "recommend_async", fault)
    response = client.post("/v1/recommend", json={"history": ["i00001"]}, headers={"X-Request-ID": "r-1"})
    assert response.status_code == 500
    assert "secret" not in response.text
    assert "request r-1 failed" in caplog.text
    assert "a secret of ours" in caplog.text
    assert "recsys_bugs_total 1.0" in client.get("/metrics").text
