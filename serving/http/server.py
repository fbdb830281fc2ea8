"""The process that listens."""

from dataclasses import dataclass

import uvicorn

from ..service import Service, Settings
from .app import make_app


@dataclass(frozen=True)
class Address:
    """Where to listen. port: 0 for any that is free."""

    host: str = "127.0.0.1"
    port: int = 8000


def make_server(service: Service, address: Address) -> uvicorn.Server:
    """A server that listens once it is run, and closes the service when it ends."""
    return uvicorn.Server(
        uvicorn.Config(make_app(service), host=address.host, port=address.port, log_level="warning", access_log=False)
    )


def serve_forever(settings: Settings, address: Address) -> None:
    """Listen until a signal ends the process; requests that are under way are answered first."""
    make_server(Service(settings), address).run()
