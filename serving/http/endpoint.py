"""A path that takes a body of JSON and answers one of our models."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

from pydantic import BaseModel, JsonValue, TypeAdapter
from starlette.types import Receive, Scope, Send

from .body import read_body
from .failures import FailedError
from .schema import as_response

PATIENCE = 0.05  # seconds, after which it is worth watching whether somebody still waits
Result = TypeVar("Result")


@dataclass(frozen=True)
class Endpoint:
    """What a path takes and answers.

    method, path: Where it is.
    answers: The model of the answer, or several.
    answer: Computes it, from the body and the request's id; its docstring describes the path.
    takes: The model of the body, or several; None: there is no body.
    example: A body.
    """

    method: str
    path: str
    answers: Any
    answer: Callable[[Any, str], Awaitable[BaseModel]]
    takes: Any = None
    example: JsonValue = None

    @cached_property
    def form(self) -> TypeAdapter[Any]:
        """What reads the body."""
        return TypeAdapter(self.takes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; an ASGI application."""
        body = None if self.takes is None else await read_body(scope, receive, self.form)
        answer = await while_connected(receive, self.answer(body, scope["state"]["request_id"]))
        await as_response(answer)(scope, receive, send)


async def while_connected(receive: Receive, answering: Awaitable[Result]) -> Result:
    """The result, unless the client goes: then the computation is cancelled, and costs nothing if it still waits.

    It runs in the caller's task, since most answers are there before it is worth watching.
    """
    asking, watching = asyncio.current_task(), list[asyncio.Task[None]]()
    assert asking is not None
    is_gone = False

    async def watch() -> None:
        nonlocal is_gone
        while (await receive())["type"] != "http.disconnect":
            pass
        is_gone = True
        asking.cancel()

    timer = asyncio.get_running_loop().call_later(PATIENCE, lambda: watching.append(asyncio.ensure_future(watch())))
    try:
        return await answering
    except asyncio.CancelledError as error:
        if not is_gone or asking.uncancel():
            raise
        raise FailedError(499, "the client has gone") from error
    finally:
        timer.cancel()
        for task in watching:
            task.cancel()
