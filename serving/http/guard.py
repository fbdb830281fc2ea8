"""What stands before every path: the request's id, the key, the metrics, and an answer whatever happens."""

import re
import time
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .access import Access
from .body import limited
from .failures import BUGS, failure
from .metrics import Metrics

REQUEST_ID = "X-Request-ID"
_PLAIN_ID = re.compile(r"[\w.:-]{1,64}", re.ASCII)


class Guard:
    """An ASGI middleware.

    Args:
        app: What it stands before.
        access: Who may ask.
        metrics: What is counted.
        paths: Those that are counted by name.
    """

    def __init__(self, app: ASGIApp, access: Access, metrics: Metrics, paths: frozenset[str]) -> None:
        self._app, self._access, self._metrics, self._paths = app, access, metrics, paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, request, status = time.perf_counter(), Request(scope, receive), 0
        request.state.request_id = request_id = _id_of(Headers(scope=scope))

        async def send_signed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers[REQUEST_ID] = request_id
                headers["X-Content-Type-Options"] = "nosniff"
                if status == 401:
                    headers["WWW-Authenticate"] = 'Basic realm="recsys"'
            await send(message)

        try:
            self._access.require(scope)
            await self._app(scope, limited(scope, receive), send_signed)
        except BUGS as error:
            if status:
                raise  # in the middle of an answer
            await failure(request, error)(scope, receive, send_signed)
        finally:
            path = scope["path"] if scope["path"] in self._paths else "other"
            self._metrics.answered(path, status, time.perf_counter() - began)


def _id_of(headers: Headers) -> str:
    """The id that the caller gave, if it is a plain one, else a new one."""
    brought = headers.get(REQUEST_ID, "")
    return brought if _PLAIN_ID.fullmatch(brought) else uuid.uuid4().hex
