"""The small bundle behind a server that listens on a socket of this machine."""

import threading
import time

import httpx
import pytest

from serving.http import Address, make_server
from serving.service import Service, Settings


@pytest.fixture(scope="module")
def client(small_run):
    settings = Settings(str(small_run.run / "bundle"), events=str(small_run.folder / "events.parquet"))
    server = make_server(Service(settings), Address(port=0))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
        yield client
    server.should_exit = True
    thread.join(20)
