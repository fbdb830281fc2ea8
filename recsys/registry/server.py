"""Whether what answers at an address is an MLflow server that lets this login in."""

import json
from typing import Any

from ..errors import RegistryError
from .deadline import bounded, call_seconds
from .location import WHERE, Location

QUESTION = "/api/2.0/mlflow/registered-models/search"
ANSWER_BYTES = 1_000_000  # more than one registered model can have in its description
LOGIN = "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"


def require_server(location: Location) -> None:
    """Ask one question that every MLflow server answers.

    MLflow itself would ask many times, and take a page of HTML for an unknown error.

    Raises:
        RegistryError: Something else answers, or the login is refused. What a broken connection raises passes through.
    """
    status, reason, content = bounded(_ask, location.address)
    fault = _fault(status, reason, content)
    if fault is not None:
        raise RegistryError(f"registry {location.shown}: {location.hide(fault)}")


def _ask(address: str) -> tuple[int, str, bytes]:
    from mlflow.utils import credentials, rest_utils

    login: Any = credentials.get_default_host_creds
    ask: Any = rest_utils.http_request
    response = ask(
        login(address), QUESTION, "GET", params={"max_results": 1}, max_retries=2, backoff_factor=0.5,
        timeout=call_seconds(), raise_on_status=False, respect_retry_after_header=False, stream=True,
    )  # fmt: skip
    with response:
        return response.status_code, response.reason, response.raw.read(ANSWER_BYTES, decode_content=True)


def _fault(status: int, reason: str, content: bytes) -> str | None:
    if status == 401:
        return f"the server asks for a login (401); set {LOGIN}"
    if status == 403:
        return f"the login may not use it (403); ask for access, or set another {LOGIN}"
    if status >= 500 or status == 429:
        return f"the server answers {status} {reason}; look at its log, then run this again"
    try:
        answer = json.loads(content)
    except ValueError:  # HTML, or cut
        answer = None
    if status == 404 and not isinstance(answer, dict):
        return f"no MLflow server answers at that path (404); {WHERE}"
    if not isinstance(answer, dict):
        return f"what answers there is no MLflow server (status {status}, no JSON object); {WHERE}"
    if status != 200:
        message = str(answer.get("message", reason)).splitlines() or [reason]
        return f"the server answers {status}: {message[0][:200]}; {WHERE}"
    return None
