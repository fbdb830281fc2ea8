"""Every answer carries a request id, the caller's if it is a plain one."""

import socket

import pytest

from serving.service import Batcher, BusyError


def test_a_plain_id_comes_back(client):
    for path in ("/v1/recommend", "/nothing"):
        response = client.post(path, json={"history": ["i00001"]}, headers={"X-Request-ID": "order-7:a.b_c"})
        assert response.headers["X-Request-ID"] == response.json()["request_id"] == "order-7:a.b_c"


@pytest.mark.parametrize("hostile", ["<script>", "a b", "x" * 65, "", "é".encode(), "a\tb"])
def test_a_hostile_id_is_replaced(client, hostile):
    response = client.get("/health/live", headers={"X-Request-ID": hostile})
    assert len(response.headers["X-Request-ID"]) == 32
    assert response.headers["X-Content-Type-Options"] == "nosniff"


def test_a_full_queue_refuses_before_a_body_is_read(client, monkeypatch):
    """A body that says to be long and never comes is refused at once; other paths answer."""

    def is_full(*_):
        raise BusyError("the queue is full")

    monkeypatch.setattr(Batcher, "require_room", is_full)
    with socket.create_connection((client.base_url.host, client.base_url.port), timeout=20) as asking:
        asking.sendall(b"POST /v1/recommend HTTP/1.1\r\nhost: x\r\ncontent-length: 900\r\n\r\n")
        refusal = b""
        while b"request_id" not in refusal:
            refusal += asking.recv(2000)
    assert b" 503 " in refusal
    assert b"retry-after: 1" in refusal.lower()
    assert b"the queue is full" in refusal
    assert client.get("/health/live").status_code == 200
    monkeypatch.undo()
    assert client.post("/v1/recommend", json={"history": []}).status_code == 200
