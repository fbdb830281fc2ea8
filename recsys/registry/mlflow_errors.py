"""Errors that MLflow raises: "absent" and "there already" become answers, all others one line with its own cause."""

import importlib
import socket
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

from ..errors import InputError, RegistryError
from .deadline import NoAnswerError
from .location import WHERE, Location
from .quiet import quiet

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

ABSENT, THERE_ALREADY = "RESOURCE_DOES_NOT_EXIST", "RESOURCE_ALREADY_EXISTS"
REASON_LENGTH = 300
CAUSES = {  # what the text of an error says, in lower case, to cause and remedy
    "database is locked": "another process holds the database; wait until it has ended, or end it",
    "readonly database": "the database cannot be written; check the permissions of the file and of its folder",
    "disk is full": "the disk is full; make room and run this again",
    "unable to open database": "there is no such database and none can be made; check that the folder exists and that "
    "you may write to it, or give --registry",
    "file is not a database": f"the file is no SQLite database; {WHERE}",
    "image is malformed": "the database is damaged; restore it from a backup",
    "out-of-date database schema": "the database is of an earlier MLflow; back it up, then run `mlflow db upgrade URI`",
    "no module named 'psycopg": "the driver for PostgreSQL is not installed; pip install psycopg2-binary",
    "no module named 'mysqldb": "the driver for MySQL is not installed; write mysql+pymysql:// and pip install pymysql",
    "no module named 'pyodbc": "the driver for SQL Server is not installed; pip install pyodbc",
    "no module named 'pymysql": "the driver for MySQL is not installed; pip install pymysql",
}


def unless(
    code: str, function: Callable[Parameters, Result], *arguments: Parameters.args, **keywords: Parameters.kwargs
) -> Result | None:
    """Call ``function``; returns its result, or None if MLflow answers with this error code."""
    from mlflow.exceptions import MlflowException

    try:
        return function(*arguments, **keywords)
    except MlflowException as error:
        if error.error_code != code:
            raise
        return None


@contextmanager
def clear_errors(location: Location) -> Iterator[None]:
    """Turn what an unreachable or broken registry raises into one RegistryError; MLflow logs nothing inside."""
    from mlflow.exceptions import MlflowException
    from requests.exceptions import RequestException
    from sqlalchemy.exc import SQLAlchemyError
    from urllib3.exceptions import HTTPError

    no_message = importlib.import_module("google.protobuf.json_format").Error  # an answer of another shape
    known = (
        MlflowException, SQLAlchemyError, sqlite3.Error, ModuleNotFoundError, NoAnswerError, RequestException,
        HTTPError, no_message,
    )  # fmt: skip
    try:
        with quiet():
            yield
    except known as error:
        hidden = None if location.has_secrets else error  # a traceback would show what the message must not
        raise RegistryError(f"registry {location.shown}: {location.hide(_cause(error))}") from hidden


@contextmanager
def bad_requests() -> Iterator[None]:
    """Turn an InputError into what MLflow answers with 400 and our line, INVALID_PARAMETER_VALUE."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except InputError as error:
        raise MlflowException.invalid_parameter_value(str(error)) from error


def _cause(error: BaseException) -> str:
    """Why a registry cannot be used, and what to do about it."""
    import requests
    import urllib3

    nested, text = list(_nested(error)), str(error)

    def any_is(*kinds: type[BaseException]) -> bool:
        return any(isinstance(inner, kinds) for inner in nested)

    for sign, cause in CAUSES.items():
        if sign in text.lower():
            return cause
    if any_is(socket.gaierror, urllib3.exceptions.NameResolutionError):
        return "no such host; check its name in --registry or MLFLOW_TRACKING_URI, and the network"
    if any_is(ConnectionRefusedError):
        return f"the connection was refused, so no server listens there; start it, or {WHERE}"
    if any_is(requests.exceptions.SSLError):
        return f"no secure connection could be made; check its certificate, and whether it is http or https; {WHERE}"
    if any_is(NoAnswerError):
        no_answer = next(str(inner) for inner in nested if isinstance(inner, NoAnswerError))
        return f"{no_answer}; {WHERE}, and the server's load"
    if any_is(requests.exceptions.Timeout, urllib3.exceptions.TimeoutError):
        return f"no answer in time; {WHERE}, and the server's load"
    if any_is(ConnectionResetError, urllib3.exceptions.ProtocolError, requests.exceptions.ChunkedEncodingError):
        return f"the server closed the connection before it had answered; look at its log, or {WHERE}"
    reason = (text.splitlines() or [type(error).__name__])[0][:REASON_LENGTH].rstrip(". ")
    return f"{reason}; {WHERE}"


def _nested(error: object) -> Iterator[BaseException]:
    """An error and all those that it was made of."""
    seen: list[object] = []
    waiting = [error]
    while waiting:
        inner = waiting.pop()
        if isinstance(inner, BaseException) and not any(inner is other for other in seen):
            seen.append(inner)
            yield inner
            waiting += [inner.__cause__, inner.__context__, getattr(inner, "reason", None), *inner.args]
