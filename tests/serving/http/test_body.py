"""Bodies that are too large, too slow, or no JSON are refused, and memory stays bounded."""

import socket

import pytest

from serving.http import body

JSON = {"content-type": "application/json"}


def chunks(count):
    for _ in range(count):
        yield b" " * 2**16


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", 400), (b"{", 400), (b'{"history": [NaN]}', 400), (b'{"history": ["\xff"]}', 400),
        (b'{"history": ["\\ud800"]}', 400), (b"[" * 100_000, 400),
        (b'{"where": ' + b"[" * 150 + b"]" * 150 + b"}", 422),
        (b'{"history": [], "k": 1e9}', 422), (b'{"history": [], "k": 1000000000}', 422), (b'{"history": [true]}', 422),
        (b'{"history": [1e999]}', 422), (b'{"exclude": [' + b"1," * 500_000 + b"1]}", 422), (b"[]", 422),
        (b"0" * (body.MAX_BYTES + 1), 413),
    ],
)  # fmt: skip
def test_hostile_bodies_are_refused(client, content, status):
    response = client.post("/v1/recommend", content=content, headers=JSON)
    assert response.status_code == status
    assert set(response.json()) == {"error", "request_id"}


def test_a_body_of_unknown_length_is_cut(client):
    assert client.post("/v1/recommend", content=chunks(1600), headers=JSON).status_code == 413


def test_only_json_is_read(client):
    assert client.post("/v1/recommend", content=b'{"history": []}').status_code == 415
    said = client.post("/v1/recommend", content=b'{"history": []}', headers={"content-type": "application/json; a=b"})
    assert said.status_code == 200


def test_a_body_that_does_not_arrive_is_not_waited_for(client, monkeypatch):
    monkeypatch.setattr(body, "READ_SECONDS", 0.05)
    with socket.create_connection((client.base_url.host, client.base_url.port), timeout=20) as asking:
        asking.sendall(b"POST /v1/recommend HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n"
                       b"content-type: application/json\r\n\r\n{")  # fmt: skip
        assert b" 408 " in asking.recv(1000)
