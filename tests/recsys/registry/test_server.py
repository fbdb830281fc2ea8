"""Servers that are none, or say nothing: real ones, on loopback, each refused in seconds with its own cause."""

import socket
import threading
import time
from contextlib import contextmanager, suppress

import pytest

from recsys.errors import RegistryError
from recsys.registry import deadline
from recsys.registry.store import Registry
from training.promotion.gate import promote

HTML = b"<html><body>It works!</body></html>"


def answer(status, content, length=None, kind="application/json"):
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(content) if length is None else length}"
    return head.encode() + b"\r\nConnection: close\r\n\r\n" + content


def say(content):
    def act(connection):
        connection.recv(65536)
        connection.sendall(content)

    return act


def nothing(connection):
    time.sleep(60)


def a_byte_a_second(connection):
    connection.recv(65536)
    for byte in answer("200 OK", b'{"registered_models": []}' + b" " * 1000):
        connection.sendall(bytes([byte]))
        time.sleep(0.1)


def a_byte_of_the_body_a_second(connection):
    connection.recv(65536)
    connection.sendall(answer("200 OK", b"", length=1000))
    for _ in range(1000):
        connection.sendall(b"{")
        time.sleep(0.1)


def reset(connection):
    connection.recv(65536)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


def without_end(connection):
    connection.recv(65536)
    connection.sendall(answer("200 OK", b"", length=10**12))
    while True:
        connection.sendall(b" " * 65536)


@contextmanager
def serving(act):
    """Yields the address of a server that does this with every connection."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as listener:

        def one(connection):
            with connection, suppress(OSError):
                act(connection)

        def serve():
            with suppress(OSError):
                while True:
                    threading.Thread(target=one, args=(listener.accept()[0],), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://user:secret-word@127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize(
    ("act", "cause"),
    [
        (nothing, "no answer (within 2 s|in time); check"),
        (a_byte_a_second, "no answer within 2 s; check"),
        (a_byte_of_the_body_a_second, "no answer within 2 s; check"),
        (reset, "the server closed the connection before it had answered"),
        (without_end, "what answers there is no MLflow server"),
        (say(b""), "the server closed the connection before it had answered"),
        (say(b"220 mail.example ESMTP\r\n"), "the server closed the connection before it had answered"),
        (
            say(answer("200 OK", b'{"registered_', length=100)),
            "the server closed the connection before it had answered",
        ),
        (say(answer("200 OK", b'{"registered_')), "what answers there is no MLflow server"),
        (say(answer("200 OK", b"[]")), "what answers there is no MLflow server"),
        (say(answer("200 OK", HTML, kind="text/html")), "what answers there is no MLflow server"),
        (say(answer("404 Not Found", HTML, kind="text/html")), r"no MLflow server answers at that path \(404\)"),
        (say(answer("401 Unauthorized", b"who?")), r"asks for a login \(401\); set MLFLOW_TRACKING_USERNAME"),
        (say(answer("403 Forbidden", b"no")), r"the login may not use it \(403\)"),
        (
            say(answer("500 Internal Server Error", HTML)),
            "the server answers 500 Internal Server Error; look at its log",
        ),
        (say(answer("503 Service Unavailable", b"")), "the server answers 503"),
        (
            say(answer("429 Too Many Requests", b"").replace(b"\r\n\r\n", b"\r\nRetry-After: 3600\r\n\r\n", 1)),
            "the server answers 429 Too Many Requests; look at its log",
        ),
        (say(answer("400 Bad Request", b'{"message": "secret-word is wrong"}')), r"answers 400: \*\*\* is wrong"),
    ],
)
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")  # of the thread that was abandoned
def test_what_is_no_server_is_named_in_seconds(act, cause, monkeypatch):
    if "within 2 s" in cause:
        monkeypatch.setattr(deadline, "CALL_SECONDS", 2.0)
    with serving(act) as uri:
        started = time.monotonic()
        with pytest.raises(RegistryError, match=rf"^registry http://\*\*\*@127\.0\.0\.1:\d+: .*{cause}") as raised:
            Registry(uri).version("small", "champion")
        assert time.monotonic() - started < 20
    assert "\n" not in str(raised.value)
    assert "secret" not in str(raised.value)
    assert raised.value.__cause__ is None


def test_a_server_that_falls_silent_after_the_first_answer(monkeypatch):
    monkeypatch.setattr(deadline, "CALL_SECONDS", 2.0)
    asked = []

    def once(connection):
        asked.append(connection.recv(65536))
        if len(asked) > 1:
            time.sleep(60)
        connection.sendall(answer("200 OK", b"{}"))

    with serving(once) as uri:
        started = time.monotonic()
        with pytest.raises(RegistryError, match="no answer within 2 s"):
            promote("small", registry_uri=uri)
        assert time.monotonic() - started < 20


def test_answers_that_mlflow_cannot_read_after_the_first(monkeypatch):
    asked = []

    def odd(connection):
        asked.append(connection.recv(65536))
        connection.sendall(answer("200 OK", b"{}" if len(asked) == 1 else b'{"registered_model": 5}'))

    with serving(odd) as uri, pytest.raises(RegistryError, match=r"; check --registry or MLFLOW_TRACKING_URI$"):
        Registry(uri).version("small", "champion")


def test_nobody_listens_and_no_such_host():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    causes = {f"http://127.0.0.1:{port}": "the connection was refused, so no server listens there",
              "http://no-such-host.invalid": "no such host; check its name|no answer within"}  # fmt: skip
    for uri, cause in causes.items():
        started = time.monotonic()
        with pytest.raises(RegistryError, match=cause):
            Registry(uri).require_ready("small")
        assert time.monotonic() - started < 20
