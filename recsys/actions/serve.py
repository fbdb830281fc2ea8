"""``serve``: a service on this machine's network, until a signal ends it."""

from dataclasses import dataclass
from pathlib import Path

from ..buckets import fetched
from ..paths import bucket_address
from ..progress import stage
from .outcome import Outcome


class Served(Outcome, frozen=True):
    """A service that has ended. address: where it listened."""

    address: str

    def lines(self) -> list[str]:
        """That it has ended."""
        return [f"{self.address} no longer answers"]


@dataclass(frozen=True)
class Listening:
    """Where a service listens, with how many processes, and the file with the key that callers must know."""

    host: str
    port: int
    workers: int
    api_key: Path | None


@dataclass(frozen=True)
class RequestLogging:
    """The folder of the request log, None for none; after how many days a file goes; whether it says who asked."""

    folder: Path | None
    days: int
    users: bool


def serve(
    source: str, listening: Listening, logging: RequestLogging, *, events: str | None, items: str | None,
    mask: Path | None, cache: Path, allow_encoder: list[str] | None, device: str, registry: str | None,
) -> Outcome:  # fmt: skip
    """Serve a bundle over HTTP."""
    from serving.http import Access, Address, serve_forever
    from serving.service import Settings

    stored = bucket_address(source)
    bundle = source if stored is None else str(fetched(stored, beside="records"))
    settings = Settings(
        bundle, events=events, items=items, cache=cache, device=device, registry=registry, mask=mask,
        log=logging.folder, log_days=logging.days, log_users=logging.users, encoders=tuple(allow_encoder or ()),
    )  # fmt: skip
    address = Address(listening.host, listening.port)
    with stage("serve"):
        serve_forever(settings, address, Access.read(listening.api_key), listening.workers)
    return Served(address=f"http://{address.host}:{address.port}")
