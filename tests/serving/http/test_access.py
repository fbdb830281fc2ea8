"""Without a key, only this machine changes the service or looks inside; with a key, only those who know it ask."""

import base64

import pytest

from recsys.errors import InputError
from serving.http import Access
from serving.http.failures import FailedError
from serving.service import Service

from .conftest import answering

KEY = "k" * 16


def status(access, path, method="GET", client="127.0.0.1", host="localhost:8000", authorization=""):
    headers = [(b"host", host.encode()), (b"authorization", authorization.encode())]
    try:
        access.require({"type": "http", "path": path, "method": method, "client": (client, 1), "headers": headers})
    except FailedError as error:
        return error.status
    return 200


def basic(user, password):
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.mark.parametrize(
    ("path", "method"), [("/", "GET"), ("/metrics", "GET"), ("/v1/mask", "PUT"), ("/page/x", "GET")]
)
def test_without_a_key_some_paths_are_for_this_machine(path, method):
    access = Access()
    assert status(access, path, method) == 200
    assert status(access, path, method, client="::1", host="[::1]:8000") == 200
    assert status(access, path, method, client="::ffff:127.0.0.1", host="127.0.0.1") == 200
    assert status(access, path, method, client="10.0.0.7") == 403
    assert status(access, path, method, host="evil.test") == 403  # a name that somebody points at 127.0.0.1
    assert status(access, path, method, client="") == 403


@pytest.mark.parametrize("path", ["/v1/recommend", "/invocations", "/health/ready", "/openapi.json", "/v1/mask"])
def test_without_a_key_everybody_may_ask(path):
    assert status(Access(), path, client="10.0.0.7", host="shop.test") == 200


def test_with_a_key_only_health_is_open():
    access = Access(KEY)
    assert status(access, "/health/live", client="10.0.0.7") == 200
    for path, method in [("/v1/recommend", "POST"), ("/", "GET"), ("/v1/mask", "PUT")]:
        assert status(access, path, method) == 401
        for wrong in ("Bearer " + "x" * 16, "Bearer é", KEY, "Basic !", "Basic eDp4", "Basic gIA=", "Bearer"):
            assert status(access, path, method, authorization=wrong) == 401
        assert status(access, path, method, client="10.0.0.7", authorization=f"Bearer {KEY}") == 200
        assert status(access, path, method, authorization=basic("somebody", KEY)) == 200
        assert status(access, path, method, authorization=basic(KEY, "")) == 401
    assert KEY not in repr(access)


def test_the_key_is_of_the_file_or_of_the_environment(tmp_path, monkeypatch):
    monkeypatch.delenv("RECSYS_API_KEY", raising=False)
    assert Access.read(None) == Access()
    monkeypatch.setenv("RECSYS_API_KEY", "e" * 20)
    assert Access.read(None) == Access("e" * 20)
    file = tmp_path / "key"
    file.write_text(f"{KEY}\n")
    assert Access.read(file) == Access(KEY)
    for bad in ("", "short", "é" * 16):
        file.write_text(bad)
        with pytest.raises(InputError, match="16 characters"):
            Access.read(file)
    with pytest.raises(InputError, match="no key can be read"):
        Access.read(tmp_path / "nothing")


def test_a_server_asks_for_its_key(small_settings):
    with answering(Service(small_settings), Access(KEY), client=("10.0.0.7", 1)) as client:
        refused = client.post("/v1/recommend", json={"history": []}, headers={"X-Forwarded-For": "127.0.0.1"})
        assert refused.status_code == 401
        assert refused.headers["WWW-Authenticate"].startswith("Basic")
        assert client.get("/metrics", headers={"Authorization": f"Bearer {KEY}"}).status_code == 200
