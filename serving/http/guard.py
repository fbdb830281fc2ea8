"""What stands before every path: the request's id, the key, the metrics, and an answer whatever happens."""

import random
import re
import time
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .access import Access
from .body import header, limited
from .failures import BUGS, failure
from .metrics import Metrics

REQUEST_ID = b"x-request-id"
_PLAIN_ID = re.compile(rb"[\w.:-]{1,64}")
_ids = random.Random()  # a call of the system for every id would cost more; an id is no secret
_SIGNED = (REQUEST_ID, b"x-content-type-options", b"www-authenticate")
_NO_SNIFFING = (b"x-content-type-options", b"nosniff")
_ASK_FOR_KEY = (b"www-authenticate", b'Basic realm="recsys"')


class Guard:
    """An ASGI middleware.

    Args:
        app: What it stands before.
        access: Who may ask.
        metrics: What is counted.
        paths: Those that are counted by name.
        require_room: Raises BusyError where no further request can be answered; asked before anything of it is read.
    """

    def __init__(
        self,
        app: ASGIApp,
        access: Access,
        metrics: Metrics,
        paths: frozenset[str],
        require_room: Callable[[], None] = lambda: None,
    ) -> None:
        self._app, self._access, self._metrics, self._paths = app, access, metrics, paths
        self._require_room = require_room

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, request_id, status = time.perf_counter(), _id_of(scope), 0
        scope.setdefault("state", {})["request_id"] = request_id

        async def send_signed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = [one for one in message["headers"] if one[0] not in _SIGNED]
                headers += ((REQUEST_ID, request_id.encode()), _NO_SNIFFING)
                if status == 401:
                    headers.append(_ASK_FOR_KEY)
                message["headers"] = headers
            await send(message)

        try:
            self._access.require(scope)
            self._require_room()
            await self._app(scope, limited(scope, receive), send_signed)
        except BUGS as error:
            if status:
                raise  # in the middle of an answer
            await failure(request_id, error)(scope, receive, send_signed)
        finally:
            path = scope["path"] if scope["path"] in self._paths else "other"
            self._metrics.answered(path, status, time.perf_counter() - began)


def _id_of(scope: Scope) -> str:
    """The id that the caller gave, if it is a plain one, else a new one."""
    brought = header(scope, REQUEST_ID)
    return brought.decode() if _PLAIN_ID.fullmatch(brought) else f"{_ids.getrandbits(128):032x}"
