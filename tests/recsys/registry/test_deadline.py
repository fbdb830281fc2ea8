"""Every call ends in time, and nothing that was abandoned goes on."""

import os
import threading
import time

import pytest

from recsys.registry import deadline
from recsys.registry.deadline import BoundedClient, NoAnswerError, bounded, lookup, transferred


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_TIMEOUT", raising=False)
    monkeypatch.setattr(deadline, "CALL_SECONDS", 0.2)


def test_what_a_call_returns_or_raises_is_passed_on():
    assert bounded(divmod, 7, 2) == (3, 1)
    for error in (KeyError("x"), TimeoutError("its own"), KeyboardInterrupt()):

        def fail(error=error):
            raise error

        with pytest.raises(type(error)) as raised:
            bounded(fail)
        assert raised.value is error


def test_an_abandoned_call_takes_no_further_step():
    steps, running = [], threading.Event()

    def slow():
        running.set()
        for step in range(1000):
            steps.append(step)
            time.sleep(0.01)

    with pytest.raises(NoAnswerError, match="no answer within 0 s"):
        bounded(slow)
    assert running.is_set()
    time.sleep(0.2)
    stopped_at = len(steps)
    time.sleep(0.2)
    assert len(steps) == stopped_at < 1000


def test_an_abandoned_call_that_swallows_the_first_exception_is_ended_too(monkeypatch):
    monkeypatch.setattr(deadline, "ABANDON_SECONDS", 0.05)
    swallowed, ended = [], threading.Event()

    def stubborn():
        try:
            for _ in range(3):
                try:
                    while True:
                        time.sleep(0.001)
                except SystemExit as error:
                    swallowed.append(error)
            while True:
                time.sleep(0.001)
        finally:
            ended.set()

    with pytest.raises(NoAnswerError):
        bounded(stubborn)
    assert ended.wait(10)
    assert len(swallowed) == 3


def test_the_calls_of_one_look_up_share_its_time(monkeypatch):
    monkeypatch.setattr(deadline, "CALL_SECONDS", 0.5)
    monkeypatch.setattr(deadline, "LOOKUP_SECONDS", 0.8)
    started, calls = time.monotonic(), 0

    def ask():
        nonlocal calls
        with lookup():
            while True:
                with lookup():  # the outer one's time counts
                    bounded(time.sleep, 0.3)
                calls += 1

    with pytest.raises(NoAnswerError, match="no answer"):
        ask()
    assert calls <= 2
    assert time.monotonic() - started < 30
    bounded(time.sleep, 0.1)  # outside, a call has its own time again


def test_the_users_own_time_out_is_kept(monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "77")
    assert deadline.call_seconds() == 77
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "soon")
    assert deadline.call_seconds() == deadline.CALL_SECONDS


def test_a_transfer_may_take_long_but_not_stall(monkeypatch, tmp_path):
    monkeypatch.setattr(deadline, "STALL_SECONDS", 0.5)
    monkeypatch.setattr(deadline, "STALL_BYTES", 1000)
    path = tmp_path / "file"

    def write(pieces, size):
        with path.open("wb", buffering=0) as file:
            for _ in range(pieces):
                file.write(b"x" * size)
                time.sleep(0.05)

    transferred(write, 25, 10_000)
    assert path.stat().st_size == 250_000
    with pytest.raises(NoAnswerError, match="the transfer of a file stalled: less than 1 kB"):
        transferred(write, 10_000, 1)


def test_threads_that_wake_each_other_are_no_transfer(monkeypatch):
    monkeypatch.setattr(deadline, "STALL_SECONDS", 0.2)
    monkeypatch.setattr(deadline, "STALL_BYTES", 1000)
    waker, is_over = os.eventfd(0), threading.Event()

    def wake():
        while not is_over.wait(0.0002):
            os.eventfd_write(waker, 1)
            os.eventfd_read(waker)

    thread = threading.Thread(target=wake)
    thread.start()
    try:
        with pytest.raises(NoAnswerError, match="stalled"):
            transferred(time.sleep, 5)
    finally:
        is_over.set()
        thread.join()
        os.close(waker)


def test_a_bounded_client_is_one_whose_methods_end_in_time():
    class Client:
        name = "a client"

        def wait(self, seconds):
            time.sleep(seconds)
            return seconds

    client = BoundedClient(Client())
    assert (client.name, client.wait(0)) == ("a client", 0)
    with pytest.raises(NoAnswerError):
        client.wait(5)
