"""The small bundle behind a server that listens on a socket of this machine."""

import threading
import time
from contextlib import contextmanager

import httpx
import pytest

from serving.http import Address, make_server
from serving.service import Service, Settings


@contextmanager
def answering(service, access=None, client=None):
    """A client of a service that listens. client: the address that it seems to ask from."""
    server, listener = make_server(service, access), Address(port=0).bind()
    app = server.config.app
    if client is not None:

        async def from_elsewhere(scope, receive, send):
            await app(scope | {"client": client}, receive, send)

        server.config.app = from_elsewhere
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = listener.getsockname()[1]
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as asking:
        yield asking
    server.should_exit = True
    thread.join(20)
    listener.close()


@pytest.fixture(scope="package")
def small_settings(small_run, tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")
    return Settings(str(small_run.run / "bundle"), events=str(small_run.folder / "events.parquet"), cache=cache)


@pytest.fixture(scope="package")
def service(small_settings):
    """The service behind ``client``, which closes it."""
    return Service(small_settings)


@pytest.fixture(scope="package")
def client(service):
    with answering(service) as client:
        yield client
