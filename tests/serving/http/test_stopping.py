"""A server that is told to stop answers whoever it let in, and tells them to go."""

import asyncio

import httpx

from serving.http import make_server
from serving.http.server import Address
from serving.service import Service, Settings


def test_requests_that_come_while_it_stops_are_answered(small_run, tmp_path):
    body = {"history": ["i00001"], "k": 3}

    async def ask():
        server = make_server(Service(Settings(str(small_run.run / "bundle"), cache=tmp_path)))
        with Address(port=0).bind() as listener:
            serving = asyncio.create_task(server.serve([listener]))
            while not server.started:
                await asyncio.sleep(0.01)
            address = f"http://127.0.0.1:{listener.getsockname()[1]}/v1/recommend"
            async with httpx.AsyncClient(timeout=20) as client:
                before = await client.post(address, json=body)
                server.should_exit = True
                await asyncio.sleep(0.2)
                while_stopping = [await client.post(address, json=body) for _ in range(2)]
            await serving
        return before, while_stopping

    before, while_stopping = asyncio.run(ask())
    assert "connection" not in before.headers
    assert [(answer.status_code, answer.headers["connection"]) for answer in while_stopping] == [(200, "close")] * 2
