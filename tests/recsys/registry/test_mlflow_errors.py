"""What MLflow raises becomes an answer, one clear line, or stays what it is."""

import socket
import sqlite3

import pytest
import requests
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS, RESOURCE_DOES_NOT_EXIST

from recsys.errors import InputError, RegistryError
from recsys.registry.deadline import NoAnswerError
from recsys.registry.location import Location
from recsys.registry.mlflow_errors import ABSENT, THERE_ALREADY, bad_requests, clear_errors, unless

HERE = Location("http://x", "http://x")


def failing(error_code):
    raise MlflowException("no", error_code=error_code)


def test_the_named_error_is_an_answer_and_any_other_is_raised():
    assert unless(ABSENT, failing, RESOURCE_DOES_NOT_EXIST) is None
    assert unless(THERE_ALREADY, failing, RESOURCE_ALREADY_EXISTS) is None
    assert unless(ABSENT, divmod, 7, 2) == (3, 1)
    with pytest.raises(MlflowException, match="no"):
        unless(ABSENT, failing, RESOURCE_ALREADY_EXISTS)


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (MlflowException("down\nfor now"), "down; check --registry or MLFLOW_TRACKING_URI"),
        (ModuleNotFoundError("down"), "down; check --registry or MLFLOW_TRACKING_URI"),
        (ModuleNotFoundError("No module named 'psycopg2'"), "the driver for PostgreSQL is not installed; pip install"),
        (sqlite3.OperationalError("database or disk is full"), "the disk is full; make room and run this again"),
        (sqlite3.OperationalError("attempt to write a readonly database"), "the database cannot be written; check the"),
        (sqlite3.OperationalError("database is locked"), "another process holds the database; wait until"),
        (sqlite3.DatabaseError("database disk image is malformed"), "the database is damaged; restore it"),
        (NoAnswerError("no answer within 10 s"), "no answer within 10 s; check --registry"),
        (requests.ConnectionError(socket.gaierror(-2, "unknown")), "no such host; check its name"),
        (requests.ConnectionError(ConnectionRefusedError()), "the connection was refused, so no server listens there"),
        (requests.ConnectionError(ConnectionResetError()), "the server closed the connection before it had answered"),
        (requests.ReadTimeout("slow"), "no answer in time; check"),
        (
            requests.exceptions.SSLError("unknown authority"),
            "no secure connection could be made; check",
        ),
    ],
)
def test_a_broken_registry_is_one_line_with_its_own_cause(error, cause):
    with pytest.raises(RegistryError, match=f"^registry http://x: {cause}") as raised, clear_errors(HERE):
        raise error
    assert "\n" not in str(raised.value)
    assert raised.value.__cause__ is error


def test_no_secret_is_in_the_line_or_in_the_traceback_of_it():
    uri = "postgresql://user:secret-word@host/db?token=other-secret"
    with pytest.raises(RegistryError) as raised, clear_errors(Location.of(uri)):
        raise MlflowException(f"cannot open {uri}: the password secret-word or the token other-secret is wrong")
    assert "secret" not in str(raised.value)
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__


def test_a_bug_stays_a_bug():
    with pytest.raises(KeyError), clear_errors(HERE):
        raise KeyError


def test_bad_input_is_what_mlflows_server_answers_with_400():
    with pytest.raises(MlflowException, match="k is 0") as raised, bad_requests():
        raise InputError("k is 0; expected a whole number, at least 1")
    assert raised.value.error_code == "INVALID_PARAMETER_VALUE"
    assert raised.value.get_http_status_code() == 400
    with pytest.raises(KeyError), bad_requests():
        raise KeyError
