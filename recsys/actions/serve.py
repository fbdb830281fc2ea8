"""``serve``: a service on this machine's network, until a signal ends it."""

from pathlib import Path

from ..progress import stage
from .outcome import Outcome


class Served(Outcome, frozen=True):
    """A service that has ended. address: where it listened."""

    address: str

    def lines(self) -> list[str]:
        """That it has ended."""
        return [f"{self.address} no longer answers"]


def serve(
    source: str, *, events: str | None, items: str | None, host: str, port: int, workers: int, api_key: Path | None,
    mask: Path | None, log: Path | None, log_days: int, log_users: bool, cache: Path, device: str, registry: str | None,
) -> Outcome:  # fmt: skip
    """Serve a bundle over HTTP."""
    from serving.http import Access, Address, serve_forever
    from serving.service import Settings

    settings = Settings(
        source, events=events, items=items, cache=cache, device=device, registry=registry, mask=mask, log=log,
        log_days=log_days, log_users=log_users,
    )  # fmt: skip
    with stage("serve"):
        serve_forever(settings, Address(host, port), Access.read(api_key), workers)
    return Served(address=f"http://{host}:{port}")
