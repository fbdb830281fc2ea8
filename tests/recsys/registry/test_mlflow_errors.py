"""What MLflow raises becomes an answer, one clear line, or stays what it is."""

import sqlite3

import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS, RESOURCE_DOES_NOT_EXIST

from recsys.errors import InputError
from recsys.registry.mlflow_errors import ABSENT, THERE_ALREADY, clear_errors, unless


def failing(error_code):
    raise MlflowException("no", error_code=error_code)


def test_the_named_error_is_an_answer_and_any_other_is_raised():
    assert unless(ABSENT, failing, RESOURCE_DOES_NOT_EXIST) is None
    assert unless(THERE_ALREADY, failing, RESOURCE_ALREADY_EXISTS) is None
    assert unless(ABSENT, divmod, 7, 2) == (3, 1)
    with pytest.raises(MlflowException, match="no"):
        unless(ABSENT, failing, RESOURCE_ALREADY_EXISTS)


@pytest.mark.parametrize(
    "error", [MlflowException("down\nfor now"), sqlite3.DatabaseError("down"), ModuleNotFoundError("down")]
)
def test_a_broken_registry_is_one_line_that_names_it(error):
    with (
        pytest.raises(InputError, match=r"^registry http://x: .*down; check --registry or MLFLOW_TRACKING_URI$"),
        clear_errors("http://x"),
    ):
        raise error


def test_a_bug_stays_a_bug():
    with pytest.raises(KeyError), clear_errors("http://x"):
        raise KeyError
