"""Errors that MLflow raises: "absent" and "there already" become answers, all others one clear line."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

from ..errors import InputError

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

ABSENT, THERE_ALREADY = "RESOURCE_DOES_NOT_EXIST", "RESOURCE_ALREADY_EXISTS"


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
def clear_errors(uri: str) -> Iterator[None]:
    """Turn what an unreachable or broken registry raises into one InputError."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, sqlite3.Error, ModuleNotFoundError) as error:
        reason = str(error).splitlines()[0][:300]
        raise InputError(f"registry {uri}: {reason}; check --registry or MLFLOW_TRACKING_URI") from error
