"""A store of objects on this machine, in processes of its own, every answer of which comes late; counts the requests.

S3 is moto's server, in memory. Azure is azurite, if its program (npm install azurite: azurite-blob) is given.
"""

import asyncio
import base64
import hashlib
import hmac
import multiprocessing
import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from email.utils import formatdate
from pathlib import Path

ACCOUNT = "devstoreaccount1"  # of every emulator of Azure, and so is the key
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


@contextmanager
def slow_store(latency: float, requests: Path, azurite: Path | None) -> Iterator[str]:
    """Start a store with the bucket "shop", and set the environment for it; yield the bucket's address.

    Args:
        latency: Seconds that are added to every answer.
        requests: A file that gets a line for every request: its method and path.
        azurite: The program, for a store of Azure's; None for one of S3.
    """
    inner, outer = free_port(), free_port()
    if azurite is None:
        store = multiprocessing.Process(target=_moto, args=(inner,), daemon=True)
        store.start()
        os.environ |= {
            "AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{outer}", "AWS_ALLOW_HTTP": "true",
        }  # fmt: skip
    else:
        options = ["--inMemoryPersistence", "--skipApiVersionCheck", "--silent", "--disableTelemetry"]
        store = subprocess.Popen([azurite, *options, "--blobPort", str(inner)], stdout=subprocess.DEVNULL)
        os.environ |= {
            "AZURE_STORAGE_USE_EMULATOR": "true", "AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT,
            "AZURE_STORAGE_ACCOUNT_KEY": KEY, "AZURITE_BLOB_STORAGE_URL": f"http://127.0.0.1:{outer}",
        }  # fmt: skip
    proxy = multiprocessing.Process(target=_delay, args=(outer, inner, latency, requests), daemon=True)
    proxy.start()
    try:
        for port in (inner, outer):
            _wait_for(port)
        _make_bucket(inner, is_azure=azurite is not None)
        yield "s3://shop" if azurite is None else "az://shop"
    finally:
        proxy.terminate()
        store.terminate()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(port: int) -> None:
    for _ in range(600):
        with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.1)
    raise TimeoutError(f"nothing listens at port {port}")


def _moto(port: int) -> None:
    import logging

    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False).start()
    while True:
        time.sleep(1)


def _make_bucket(port: int, *, is_azure: bool) -> None:
    url, headers = f"http://127.0.0.1:{port}/shop", {"Content-Length": "0"}
    if is_azure:
        url, date, version = f"http://127.0.0.1:{port}/{ACCOUNT}/shop?restype=container", formatdate(), "2021-08-06"
        date = formatdate(usegmt=True)
        resource = f"x-ms-date:{date}\nx-ms-version:{version}\n/{ACCOUNT}/{ACCOUNT}/shop\nrestype:container"
        signed = hmac.new(base64.b64decode(KEY), f"PUT{chr(10) * 12}{resource}".encode(), hashlib.sha256).digest()
        signature = f"SharedKey {ACCOUNT}:{base64.b64encode(signed).decode()}"
        headers |= {"x-ms-date": date, "x-ms-version": version, "Authorization": signature}
    urllib.request.urlopen(urllib.request.Request(url, method="PUT", headers=headers)).close()


def _delay(outer: int, inner: int, latency: float, requests: Path) -> None:
    """Pass requests from one port on to another, each of them late."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        above, below = await asyncio.open_connection("127.0.0.1", inner)
        back = asyncio.create_task(copy(above, writer))
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                lines = head.decode("latin-1").split("\r\n")
                lengths = [int(line.split(":")[1]) for line in lines if line.lower().startswith("content-length:")]
                with requests.open("a") as log:
                    log.write(" ".join(lines[0].split()[:2]) + "\n")
                await asyncio.sleep(latency)
                below.write(head)
                left = sum(lengths)
                while left:
                    chunk = await reader.read(min(left, 1 << 18))
                    if not chunk:
                        raise ConnectionError
                    below.write(chunk)
                    await below.drain()
                    left -= len(chunk)
        back.cancel()
        for stream in (below, writer):
            stream.close()

    async def copy(above: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while chunk := await above.read(1 << 18):
                writer.write(chunk)
                await writer.drain()
        writer.close()

    async def listen() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", outer)
        await server.serve_forever()

    asyncio.run(listen())
