"""A path that takes a body of JSON and answers one of our models."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

from pydantic import BaseModel, JsonValue, TypeAdapter
from starlette.requests import Request
from starlette.responses import Response

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

    async def respond(self, request: Request) -> Response:
        """Answer one request."""
        body = None if self.takes is None else await read_body(request, self.form)
        return as_response(await while_connected(request, self.answer(body, request.state.request_id)))


async def while_connected(request: Request, answering: Awaitable[Result]) -> Result:
    """The result, unless the client goes: then the computation is cancelled, and costs nothing if it still waits."""
    task = asyncio.ensure_future(answering)
    try:
        done, _ = await asyncio.wait({task}, timeout=PATIENCE)
        if done:
            return task.result()
        gone = asyncio.ensure_future(_until_gone(request))
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        gone.cancel()
        if not task.done():
            raise FailedError(499, "the client has gone")
        return task.result()
    finally:
        task.cancel()


async def _until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
