"""A client that has gone costs nothing more."""

import asyncio

import pytest

from serving.http import endpoint
from serving.http.failures import FailedError


class Asking:
    """A request whose client goes after some seconds."""

    def __init__(self, seconds):
        self.seconds = seconds

    async def receive(self):
        await asyncio.sleep(self.seconds)
        return {"type": "http.disconnect"}


async def answer(seconds, ends):
    try:
        await asyncio.sleep(seconds)
        return "the answer"
    finally:
        ends.append("cancelled" if asyncio.current_task().cancelling() else "done")


@pytest.mark.parametrize(("seconds", "expected"), [(0, "done"), (0.02, "done"), (20, "cancelled")])
def test_a_computation_ends_when_its_client_goes(seconds, expected, monkeypatch):
    monkeypatch.setattr(endpoint, "PATIENCE", 0.01)
    ends = []

    async def ask():
        result = await endpoint.while_connected(Asking(0.06).receive, answer(seconds, ends))
        assert result == "the answer"

    if expected == "done":
        asyncio.run(ask())
    else:
        with pytest.raises(FailedError):
            asyncio.run(ask())
    assert ends == [expected]
