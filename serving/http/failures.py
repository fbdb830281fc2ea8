"""What a caller is told when a request fails: one line, without a trace and without text of the request."""

import logging
import re

import polars as pl
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from recsys.errors import InputError

from ..service import BusyError, LateError
from .schema import MEMBERS, Failure, as_response

logger = logging.getLogger(__name__)
BUGS = (Exception, pl.exceptions.PanicException)  # Polars' panic is no Exception
RETRY_AFTER = {"Retry-After": "1"}
_QUOTED = re.compile(r"""(?<!\w)(['"])(?:\\.|(?!\1).)*(?:\1|$)""")
_FORMS = ("one", "several")  # names of the two forms of a body, which nobody sent


class FailedError(Exception):
    """A request that is refused: with this status, and why."""

    def __init__(self, status: int, line: str) -> None:
        super().__init__(line)
        self.status = status


def failure(request_id: str, error: BaseException) -> Response:
    """The response to an exception. One that is not meant for the caller is a bug: logged with its trace, and 500."""
    status, line = _told(error)
    if status == 500:
        logger.error("request %s failed", request_id, exc_info=error)
    headers = RETRY_AFTER if status == 503 else getattr(error, "headers", None)
    return as_response(Failure(error=line, request_id=request_id), status, headers)


def without_input(line: str) -> str:
    """An error's line without the text that it quotes from a request; numbers stay.

    Our lines say what was found and then, after the last "; expected", what was expected, which quotes no request.
    """
    line = " ".join(line.split())
    found, expected, remedy = line.rpartition("; expected")
    return _QUOTED.sub("'…'", found or line) + (expected + remedy if found else "")


def _told(error: BaseException) -> tuple[int, str]:
    match error:
        case FailedError():
            return error.status, str(error)
        case BusyError() | LateError():
            return 503, str(error)
        case ValidationError():
            return 422, _first_fault(error)
        case InputError():
            return 400, without_input(str(error))
        case HTTPException():
            return error.status_code, " ".join(str(error.detail).split())
        case RequestValidationError():
            return 422, "a parameter has the wrong form"
    return 500, "a bug, which has been logged under this request's id"


def _first_fault(error: ValidationError) -> str:
    """Where a body has the wrong form, and what is expected there."""
    first = error.errors(include_input=False, include_url=False)[0]
    where = [part for part in first["loc"] if part not in _FORMS]
    if first["type"] == "extra_forbidden":
        where, message = where[:-1], "a member that is not known; see /openapi.json for those that are"
    else:
        message = without_input(first["msg"])
    names = [str(part) for part in where if isinstance(part, int) or part in MEMBERS]
    return ": ".join([".".join(names) or "body", message])
