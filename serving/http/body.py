"""A request's body: read within limits, parsed strictly."""

import asyncio
from typing import TypeVar

from pydantic import TypeAdapter
from pydantic_core import from_json
from starlette.types import Message, Receive, Scope

from .failures import FailedError

MAX_BYTES = 2 * 2**20
READ_SECONDS = 5.0  # for a body to arrive
Form = TypeVar("Form")


def header(scope: Scope, name: bytes, default: bytes = b"") -> bytes:
    """The first header of a name in lower case; a request has few, so no mapping is made of them."""
    return next((value for key, value in scope["headers"] if key == name), default)


async def read_body(scope: Scope, receive: Receive, form: TypeAdapter[Form]) -> Form:
    """A body of JSON as one of our models.

    Stricter than Python's parser: no NaN, no lone surrogates, no bytes that are not UTF-8, and at most 200 levels.

    Raises:
        FailedError: It is too large or too slow, or no JSON.
        ValidationError: It does not have the model's form.
    """
    if header(scope, b"content-type").partition(b";")[0].strip().lower() != b"application/json":
        raise FailedError(415, "content-type: expected application/json")
    try:
        async with asyncio.timeout(READ_SECONDS):
            raw = await _all_of(receive)
    except TimeoutError as error:
        raise FailedError(408, f"body: not there after {READ_SECONDS:g} seconds") from error
    try:
        value = from_json(raw, allow_inf_nan=False)
    except ValueError as error:
        raise FailedError(400, f"body: no JSON: {error}") from error
    return form.validate_python(value)


async def _all_of(receive: Receive) -> bytes:
    """A whole body. Raises FailedError if the client goes before its end."""
    parts, has_more = [], True
    while has_more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise FailedError(499, "the client has gone")
        parts.append(message.get("body", b""))
        has_more = message.get("more_body", False)
    return b"".join(parts)


def limited(scope: Scope, receive: Receive) -> Receive:
    """``receive`` that raises FailedError once a body is larger than MAX_BYTES; at once if it says that it will be."""
    too_large = FailedError(413, f"body: too large; expected at most {MAX_BYTES:,} bytes")
    announced = header(scope, b"content-length", b"0")
    if not announced.isdigit() or int(announced[:20]) > MAX_BYTES:
        raise too_large
    total = 0

    async def receive_limited() -> Message:
        nonlocal total
        message = await receive()
        total += len(message.get("body", b""))
        if total > MAX_BYTES:
            raise too_large
        return message

    return receive_limited
