"""What MLflow raises: absent or present as an answer, everything else as one clear line."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..errors import InputError

ABSENT, THERE_ALREADY = "RESOURCE_DOES_NOT_EXIST", "RESOURCE_ALREADY_EXISTS"


def unless(code: str, function: Any, *arguments: Any) -> Any:
    """What ``function`` returns, or None where MLflow answers with this error code."""
    from mlflow.exceptions import MlflowException

    try:
        return function(*arguments)
    except MlflowException as error:
        if error.error_code != code:
            raise
        return None


@contextmanager
def clear_errors(uri: str) -> Iterator[None]:
    """An unreachable or broken registry is one clear line."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, sqlite3.Error, ModuleNotFoundError) as error:
        reason = str(error).splitlines()[0][:300]
        raise InputError(f"registry {uri}: {reason}; check --registry or MLFLOW_TRACKING_URI") from error
