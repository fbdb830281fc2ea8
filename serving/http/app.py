"""The application: which path answers what."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from functools import partial

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from ..service import RequestLog, Service
from .access import Access
from .endpoint import Endpoint
from .explorer import make_explorer
from .failures import failure
from .guard import Guard
from .lookup_queue import LookupQueue
from .lookups import lookup_endpoints
from .masking import mask_endpoints
from .metrics import Metrics
from .openapi import openapi
from .recommending import recommend_endpoint
from .schema import Live, Ready

LOOK_SECONDS = 0.5  # between two looks at what serves, for the metrics


class _Paths:
    """An ASGI application: some paths by their names, and others by FastAPI, whose layers cost as much as an answer."""

    def __init__(self, named: Mapping[tuple[str, str], ASGIApp], others: ASGIApp) -> None:
        """named: by method and path."""
        self._named, self._others = named, others

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        app = self._named.get((scope["method"], scope["path"])) if scope["type"] == "http" else None
        await (app or self._others)(scope, receive, send)


def make_app(service: Service, access: Access | None = None) -> ASGIApp:
    """The HTTP application around a service, which it closes when it ends.

    Args:
        service: What answers.
        access: Who may ask; None: everybody, as ``Access`` says.
    """
    metrics, lookups, settings = Metrics(), LookupQueue(service), service.settings
    log = None if settings.log is None else RequestLog(settings.log, settings.log_days, settings.log_users)
    service.on_batch = metrics.computed

    @contextlib.asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        looking = asyncio.create_task(_look(service, metrics, lookups, log))
        yield
        looking.cancel()
        lookups.close()
        service.close()
        if log is not None:
            log.close()

    async def show_metrics(_: Request) -> Response:
        metrics.look_at(service, log)
        return Response(metrics.page(), media_type="text/plain; version=0.0.4")

    async def describe(_: Request) -> Response:
        return Response(description, media_type="application/json")

    app = FastAPI(
        title="recsys", lifespan=life, redirect_slashes=False, openapi_url=None, docs_url=None, redoc_url=None
    )
    for error in (HTTPException, RequestValidationError):
        app.add_exception_handler(error, _told)
    endpoints = [
        recommend_endpoint(service, metrics, log), *lookup_endpoints(lookups), *mask_endpoints(service, lookups),
        *health_endpoints(service),
    ]  # fmt: skip
    description = openapi(endpoints)
    for endpoint in endpoints:
        app.router.routes.append(Route(endpoint.path, endpoint, methods=[endpoint.method]))
    app.add_route("/metrics", show_metrics)
    app.add_route("/openapi.json", describe)
    app.include_router(make_explorer(service, lookups))
    paths = frozenset(endpoint.path for endpoint in endpoints)
    guard = partial(Guard, access=access or Access(), metrics=metrics, paths=paths)
    app.add_middleware(guard)
    named = {(endpoint.method, endpoint.path): guard(endpoint) for endpoint in endpoints}
    recommend = endpoints[0]
    named[recommend.method, recommend.path] = guard(recommend, require_room=service.require_room)
    return _Paths(named, app)


def health_endpoints(service: Service) -> list[Endpoint]:
    """The paths that a load balancer asks."""

    async def live(_: None, request_id: str) -> Live:
        """Whether the process answers."""
        return Live()

    async def ready(_: None, request_id: str) -> Ready:
        """Which version answers, and what keeps a newer one from it."""
        follower, served = service.follower, service.served
        return Ready(
            version=served.version, bundle_id=served.bundle_id, items=service.items_fault,
            registry=follower.registry_fault,
            refused=follower.refused.reason if follower.refused is not None else None,
        )  # fmt: skip

    return [Endpoint("GET", "/health/live", Live, live), Endpoint("GET", "/health/ready", Ready, ready)]


async def _look(service: Service, metrics: Metrics, lookups: LookupQueue, log: RequestLog | None) -> None:
    """Follow what serves, until it is cancelled."""
    while True:
        metrics.look_at(service, log)
        lookups.warm()
        await asyncio.sleep(LOOK_SECONDS)


async def _told(request: Request, error: Exception) -> Response:
    return failure(request.state.request_id, error)
