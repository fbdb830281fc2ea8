"""The service as replicas on a Ray cluster, behind Ray Serve's proxies. Only ``--engine ray`` imports this module.

Each replica is the application of ``recsys serve`` around a service of its own, which follows the registry itself.
"""

import logging
import signal
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from ray import serve
from ray.serve.config import AutoscalingConfig, HTTPOptions
from starlette.types import ASGIApp

from recsys.errors import InputError
from recsys.paths import absolute_location
from recsys.ray_cluster import connected, one_thread
from recsys.registry import MODEL_URI, Registry

from .http import SWITCH_SECONDS, Access, Address, make_app
from .service import Service, Settings

NAME = "recsys"  # of the application in the cluster
REQUESTS = 512  # that a replica has at a time; those that it cannot answer in time, it refuses itself
LOOK_SECONDS = 0.2  # between two looks at a signal
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Replicas:
    """How many processes answer: ``at_least``, and under load up to ``at_most``."""

    at_least: int = 1
    at_most: int | None = None

    def __post_init__(self) -> None:
        if self.at_least < 1:
            raise InputError(f"--workers is {self.at_least}; expected at least 1")
        if self.at_most is not None and self.at_most < self.at_least:
            raise InputError(f"--max-workers is {self.at_most}; expected at least --workers, {self.at_least}")

    @property
    def autoscaling(self) -> AutoscalingConfig | None:
        """What Ray Serve is told about them; None for a fixed number."""
        if self.at_most is None:
            return None
        return AutoscalingConfig(min_replicas=self.at_least, max_replicas=self.at_most)


def serve_on_ray(settings: Settings, address: Address, access: Access, replicas: Replicas, cluster: str | None) -> None:
    """Answer from a cluster until a signal ends this process; requests that are under way are answered first.

    Args:
        settings: How to serve; all machines see the same files.
        address: Where the proxy of each machine that has a replica listens.
        access: Who may ask.
        replicas: How many there are.
        cluster: See ``connected``.

    Raises:
        InputError: There is nothing to serve, nowhere to listen, or the cluster serves something already.
    """
    settings = _fixed(settings)
    Service(settings).close()  # what cannot be served is told here, in one line; and it fills the cache
    address.bind().close()
    with connected(cluster):
        logging.getLogger("ray.serve").setLevel(logging.ERROR)
        if serve.status().applications:
            raise InputError("the cluster serves something already; expected nothing: end it, or run `serve shutdown`")
        stop, deployed = threading.Event(), threading.Event()

        def end(*_: object) -> None:
            stop.set()
            if not deployed.is_set():  # Ray waits without end for a replica for which no machine has room
                raise KeyboardInterrupt

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, end)
        try:
            with suppress(KeyboardInterrupt):
                _deploy(settings, address, access, replicas)
                logger.info("answers at http://%s:%d of every machine with a replica", address.host, address.port)
            deployed.set()
            while not stop.wait(LOOK_SECONDS):
                pass
        finally:
            serve.delete(NAME)  # waits for what is under way
            logging.getLogger("recsys.ray_cluster").setLevel(logging.ERROR)  # it reports its own end as lost
            serve.shutdown()  # type: ignore[no-untyped-call]  # Ray ships it untyped


def _deploy(settings: Settings, address: Address, access: Access, replicas: Replicas) -> None:
    def application() -> ASGIApp:
        sys.setswitchinterval(SWITCH_SECONDS)
        return make_app(Service(settings), access)

    make = serve.deployment(
        name=NAME, max_ongoing_requests=REQUESTS,
        num_replicas=None if replicas.at_most else replicas.at_least, autoscaling_config=replicas.autoscaling,
        ray_actor_options={"num_cpus": 1, "runtime_env": one_thread()},
        logging_config={"enable_access_log": False, "log_level": "WARNING"},
    )  # fmt: skip
    logger.info("starting replicas, each of which takes one processor of the cluster")
    deployment = make(serve.ingress(application)())
    serve.start(http_options=HTTPOptions(host=address.host, port=address.port))
    try:
        serve.run(deployment.bind(), name=NAME)
    except RuntimeError as error:
        raise InputError(f"the replicas do not start: {' '.join(str(error).split())}") from error


def _fixed(settings: Settings) -> Settings:
    """The same for processes with another working directory."""
    source, registry = settings.source, settings.registry
    if MODEL_URI.fullmatch(source) is None:
        source = absolute_location(source, Path.cwd())
    else:
        registry = Registry(registry).uri
    return replace(
        settings, source=source, registry=registry, events=_absolute(settings.events), items=_absolute(settings.items),
        cache=settings.cache.expanduser().absolute(), mask=settings.mask and settings.mask.absolute(),
        log=settings.log and settings.log.absolute(),
    )  # fmt: skip


def _absolute(table: str | None) -> str | None:
    return None if table is None else absolute_location(table, Path.cwd())
