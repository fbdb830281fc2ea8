"""The process that listens, or several."""

import logging
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import uvicorn

from recsys.errors import InputError

from ..service import Service, Settings
from .access import Access
from .app import make_app
from .stopping import StoppingServer
from .workers import run_workers

logger = logging.getLogger(__name__)
# Until the thread that computes gets the interpreter back from the one that listens. It needs it after each of some
# hundred operations of a batch, so with Python's own 5 ms a flood of requests all but stops it (docs/LOG.md).
SWITCH_SECONDS = 1e-4


@dataclass(frozen=True)
class Address:
    """Where to listen. port: 0 for any that is free."""

    host: str = "127.0.0.1"
    port: int = 8000

    def bind(self) -> socket.socket:
        """A socket that is bound there. Raises InputError where nobody can listen."""
        kind = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        listener = socket.socket(kind)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((self.host, self.port))
        except OSError as error:
            listener.close()
            raise InputError(
                f"cannot listen on {self.host}:{self.port}: {error.strerror or error}; choose another --port or --host"
            ) from error
        return listener


@dataclass(frozen=True)
class Work:
    """What each of several workers does: serve, with a service of its own."""

    settings: Settings
    access: Access

    def __call__(self, listener: socket.socket, say_ready: Callable[[], None]) -> None:
        """Answer a socket until a signal ends the process; requests that are under way are answered first."""
        sys.setswitchinterval(SWITCH_SECONDS)
        server = make_server(Service(self.settings), self.access)
        say_ready()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)  # uvicorn's handlers stand before these, and call them at the end
        server.run([listener])


def make_server(service: Service, access: Access | None = None) -> uvicorn.Server:
    """A server that listens once it is run, and closes the service when it ends. access: see ``make_app``."""
    config = uvicorn.Config(
        make_app(service, access), log_level="warning", access_log=False, proxy_headers=False, server_header=False
    )
    return StoppingServer(config)


def serve_forever(settings: Settings, address: Address, access: Access, num_workers: int = 1) -> None:
    """Listen until a signal ends the process; requests that are under way are answered first.

    Args:
        settings: How to serve.
        address: Where to listen.
        access: Who may ask.
        num_workers: Processes that share the socket.

    Raises:
        InputError: There is nothing to serve, or nowhere to listen.
    """
    if num_workers < 1:
        raise InputError(f"--workers is {num_workers}; expected at least 1")
    work = Work(settings, access)
    with address.bind() as listener:
        if num_workers == 1:
            work(listener, partial(_say_ready, listener))
        else:
            run_workers(num_workers, listener, work)


def _say_ready(listener: socket.socket) -> None:
    host, port = listener.getsockname()[:2]
    logger.info("answers at http://%s:%d, with a page for people", f"[{host}]" if ":" in host else host, port)
