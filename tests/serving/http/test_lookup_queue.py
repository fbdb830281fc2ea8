"""LookupQueue are computed one after another, behind a bounded queue, and fail alone."""

import asyncio
import threading

import pytest

from recsys.errors import InputError
from serving.http import lookup_queue as module
from serving.http.lookup_queue import LookupQueue
from serving.service import BusyError


@pytest.fixture
def lookups(service):
    lookups = LookupQueue(service)
    yield lookups
    lookups.close()


def test_a_lookup_sees_what_serves_and_fails_alone(lookups, service):
    def fault(_):
        raise InputError("bad")

    async def ask():
        return await asyncio.gather(lookups.ask(lambda served: served), lookups.ask(fault), return_exceptions=True)

    served, error = asyncio.run(ask())
    assert served is service.served
    assert isinstance(error, InputError)


def test_too_many_lookups_are_refused(service, monkeypatch):
    monkeypatch.setattr(module, "MAX_QUEUE", 2)
    monkeypatch.setattr(module, "_warm_up", lambda served: started.set() or released.wait(20))
    started, released = threading.Event(), threading.Event()
    lookups = LookupQueue(service)
    started.wait(20)

    async def ask():
        waiting = [asyncio.ensure_future(lookups.ask(lambda served: 1)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(BusyError):
            await lookups.ask(lambda served: 1)
        released.set()
        return await asyncio.gather(*waiting)

    assert asyncio.run(ask()) == [1, 1]
    lookups.close()


def test_what_took_over_is_warmed_once(lookups, service, monkeypatch):
    warmed = []
    monkeypatch.setattr(module, "_warm_up", warmed.append)
    lookups.warm()
    assert not warmed
    monkeypatch.setattr(service, "_served", other := object())
    lookups.warm()
    lookups.warm()
    asyncio.run(lookups.ask(lambda served: None))
    assert warmed == [other]
