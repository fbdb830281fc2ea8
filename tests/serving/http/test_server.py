"""A process that listens, as a person starts it and a supervisor stops it."""

import re
import signal
import socket
import subprocess
import sys
import time
from types import SimpleNamespace

import httpx
import polars as pl
import pytest

from recsys.errors import InputError
from serving.http import Access, Address, serve_forever, server
from serving.service import Settings


def answers_until_told_to_stop(process, client, bundle_id, headers):
    for _ in range(1200):
        try:
            ready = client.get("/health/ready").json()
            break
        except httpx.TransportError:
            time.sleep(0.05)
    assert ready["bundle_id"] == bundle_id
    assert client.post("/v1/recommend", json={"history": []}).status_code == 401
    for _ in range(20):
        assert client.post("/v1/recommend", json={"history": []}, headers=headers).status_code == 200
    counted = client.get("/metrics", headers=headers).text
    (answers,) = re.findall(r'recsys_responses_total{path="/v1/recommend",status="200"} (\S+)', counted)
    assert float(answers) == 20  # of both workers
    process.send_signal(signal.SIGTERM)


def test_the_command_answers_until_it_is_told_to_stop(small_run, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (tmp_path / "key").write_text("0123456789abcdef")
    command = [sys.executable, "-m", "recsys.cli", "serve", small_run.run / "bundle", "--port", str(port),
               "--cache", tmp_path / "cache", "--workers", "2", "--api-key", tmp_path / "key"]  # fmt: skip
    command += ["--log", tmp_path / "log", "--no-log-users", "--log-days", "9"]
    at, headers = f"http://127.0.0.1:{port}", {"Authorization": "Bearer 0123456789abcdef"}
    limits = httpx.Limits(max_keepalive_connections=0)  # a connection for each request, so that both workers are asked
    with (
        subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process,
        httpx.Client(base_url=at, limits=limits, timeout=60) as client,
    ):
        try:
            answers_until_told_to_stop(process, client, small_run.bundle_id, headers)
            _, said = process.communicate(timeout=60)
        finally:
            process.kill()  # where the test has failed, or it would wait for ever
    assert process.returncode == 0
    assert pl.read_parquet(tmp_path / "log" / "*.parquet").height == 20
    assert "Traceback" not in said


def test_a_port_that_is_taken_and_no_workers_are_errors(small_settings):
    with Address(port=0).bind() as taken:
        taken.listen()
        with pytest.raises(InputError, match="cannot listen"):
            serve_forever(small_settings, Address(port=taken.getsockname()[1]), Access())
    with pytest.raises(InputError, match="at least 1"):
        serve_forever(small_settings, Address(port=0), Access(), num_workers=0)


def test_the_thread_that_computes_gets_the_interpreter_back_soon(monkeypatch):
    """Or a flood of requests, each of which is refused, would all but stop the answers."""
    before, ran = sys.getswitchinterval(), []
    monkeypatch.setattr(server, "Service", lambda settings: None)
    monkeypatch.setattr(server, "make_server", lambda *_: SimpleNamespace(run=ran.append))
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    try:
        server.Work(Settings("bundle"), Access())("the socket", lambda: None)
        assert sys.getswitchinterval() == pytest.approx(server.SWITCH_SECONDS)
    finally:
        sys.setswitchinterval(before)
    assert ran == [["the socket"]]
