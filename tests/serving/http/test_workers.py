"""Workers share a socket, are replaced when they die, and end with the process that started them."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from recsys.errors import InputError
from serving.http.workers import FOLDER_VARIABLE, run_workers

SUPERVISOR = """
import socket, sys
sys.path.insert(0, {folder!r})
from serving.http import workers
from work import work
workers.YOUNG_SECONDS = 0.05
if __name__ == "__main__":
    with socket.create_server(("127.0.0.1", {port})) as listener:
        workers.run_workers(2, listener, work)
"""
WORK = '''
import os, signal, threading
def work(listener, say_ready):
    """Send its number to everybody who connects."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    listener.listen()
    listener.settimeout(0.02)
    say_ready()
    while not stop.is_set():
        try:
            peer, _ = listener.accept()
        except TimeoutError:
            continue
        with peer:
            peer.sendall(str(os.getpid()).encode())
'''


def ask(port):
    for _ in range(2000):
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as peer:
            if said := peer.recv(100):
                return int(said)
        time.sleep(0.01)
    raise AssertionError("nobody answers")


def both(port):
    seen = set()
    while len(seen) < 2:
        seen.add(ask(port))
    return seen


def is_gone(process):
    stat = Path(f"/proc/{process}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"


@pytest.fixture
def supervisor(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (tmp_path / "work.py").write_text(WORK)
    (tmp_path / "supervisor.py").write_text(SUPERVISOR.format(folder=str(tmp_path), port=port))
    with subprocess.Popen([sys.executable, tmp_path / "supervisor.py"], stderr=subprocess.PIPE, text=True) as process:
        process.port = port
        yield process
        process.kill()


def test_a_worker_that_dies_is_replaced_and_sigterm_ends_all_of_them(supervisor):
    first = both(supervisor.port)
    os.kill(min(first), signal.SIGKILL)
    while not is_gone(min(first)) or len(second := both(supervisor.port)) < 2 or min(first) in second:
        time.sleep(0.01)
    assert max(first) in second
    supervisor.send_signal(signal.SIGTERM)
    _, said = supervisor.communicate(timeout=20)
    assert supervisor.returncode == 0
    assert f"worker {min(first)} ended with code -9" in said
    assert all(map(is_gone, second))


def test_workers_end_when_their_supervisor_is_killed(supervisor):
    workers = both(supervisor.port)
    supervisor.kill()
    for _ in range(1000):
        if all(map(is_gone, workers)):
            break
        time.sleep(0.01)
    assert all(map(is_gone, workers))


def refuse(listener, say_ready):
    raise InputError("nothing to serve")


def test_what_keeps_the_first_worker_from_starting_is_the_error(monkeypatch):
    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    with socket.socket() as listener, pytest.raises(InputError, match="nothing to serve"):
        run_workers(2, listener, refuse)
    for number, handler in zip((signal.SIGTERM, signal.SIGINT), handlers, strict=True):
        signal.signal(number, handler)
    assert FOLDER_VARIABLE not in os.environ
