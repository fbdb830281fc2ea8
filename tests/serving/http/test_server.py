"""A process that listens, as a person starts it and a supervisor stops it."""

import signal
import socket
import subprocess
import sys
import time

import httpx


def test_the_command_answers_until_it_is_told_to_stop(small_run, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "recsys.cli", "serve", small_run.run / "bundle", "--port", str(port),
               "--cache", tmp_path / "cache"]  # fmt: skip
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        for _ in range(600):
            try:
                ready = httpx.get(f"http://127.0.0.1:{port}/health/ready").json()
                break
            except httpx.TransportError:
                time.sleep(0.05)
        assert ready["bundle_id"] == small_run.bundle_id
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=20)
    assert "Traceback" not in said
