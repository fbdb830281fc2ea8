"""``serve``: a service on this machine's network, until a signal ends it."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..buckets import fetched
from ..errors import InputError
from ..extras import library
from ..paths import bucket_address
from ..progress import stage
from .engine import LOCAL, Engine
from .outcome import Outcome

if TYPE_CHECKING:
    from serving.http import Access, Address
    from serving.service import Settings


class Served(Outcome, frozen=True):
    """A service that has ended. address: where it listened."""

    address: str

    def lines(self) -> list[str]:
        """That it has ended."""
        return [f"{self.address} no longer answers"]


@dataclass(frozen=True)
class Listening:
    """Where a service listens, with how many processes, and the file with the key that callers must know.

    max_workers: how many processes a cluster may add up to.
    """

    host: str
    port: int
    workers: int
    api_key: Path | None
    max_workers: int | None = None


@dataclass(frozen=True)
class RequestLogging:
    """The folder of the request log, None for none; after how many days a file goes; whether it says who asked."""

    folder: Path | None
    days: int
    users: bool


def serve(
    source: str, listening: Listening, logging: RequestLogging, *, events: str | None, items: str | None,
    mask: Path | None, cache: Path, allow_encoder: list[str] | None, device: str, registry: str | None,
    engine: Engine = LOCAL,
) -> Outcome:  # fmt: skip
    """Serve a bundle over HTTP."""
    from serving.http import Access, Address
    from serving.service import Settings

    stored = bucket_address(source)
    bundle = source if stored is None else str(fetched(stored, beside="records"))
    settings = Settings(
        bundle, events=events, items=items, cache=cache, device=device, registry=registry, mask=mask,
        log=logging.folder, log_days=logging.days, log_users=logging.users, encoders=tuple(allow_encoder or ()),
    )  # fmt: skip
    with stage("serve"):
        _serve(settings, Address(listening.host, listening.port), Access.read(listening.api_key), listening, engine)
    return Served(address=f"http://{listening.host}:{listening.port}")


def _serve(settings: "Settings", address: "Address", access: "Access", listening: Listening, engine: Engine) -> None:
    if engine.is_ray:
        library("ray.serve", "ray", "serve --engine ray")
        from serving.serve_on_ray import Replicas, serve_on_ray

        serve_on_ray(settings, address, access, Replicas(listening.workers, listening.max_workers), engine.address)
        return
    from serving.http import serve_forever

    if listening.max_workers is not None:
        raise InputError("--max-workers is for a cluster, but the engine is local; add --engine ray, or leave it out")
    serve_forever(settings, address, access, listening.workers)
