"""Every answer carries a request id, the caller's if it is a plain one."""

import pytest


def test_a_plain_id_comes_back(client):
    for path in ("/v1/recommend", "/nothing"):
        response = client.post(path, json={"history": ["i00001"]}, headers={"X-Request-ID": "order-7:a.b_c"})
        assert response.headers["X-Request-ID"] == response.json()["request_id"] == "order-7:a.b_c"


@pytest.mark.parametrize("hostile", ["<script>", "a b", "x" * 65, "", "é".encode(), "a\tb"])
def test_a_hostile_id_is_replaced(client, hostile):
    response = client.get("/health/live", headers={"X-Request-ID": hostile})
    assert len(response.headers["X-Request-ID"]) == 32
    assert response.headers["X-Content-Type-Options"] == "nosniff"
