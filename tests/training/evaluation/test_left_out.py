import logging

import polars as pl
import pytest

from recsys.errors import InputError
from training.evaluation.left_out import NOTHING, LeftOut


def refused():
    raise InputError("a map needs 4 items, found 1")


def broken():
    raise ZeroDivisionError("by zero")


def panicked():
    raise pl.exceptions.PanicException("index out of range")


def test_what_can_be_made_is_returned():
    left_out = LeftOut()
    assert left_out.attempt("a map", lambda: 3) == 3
    assert left_out.reasons == {}


def test_bad_input_gives_its_reason_without_a_traceback(caplog):
    left_out = LeftOut()
    assert left_out.attempt("a map", refused) is None
    assert left_out.reasons == {"a map": "a map needs 4 items, found 1"}
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("bug", [broken, panicked])
def test_a_bug_is_visible_and_costs_nothing_else(bug, caplog):
    left_out = LeftOut()
    assert left_out.attempt("a map", bug) is None
    assert left_out.reasons["a map"].startswith("a bug (")
    (record,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert record.exc_info is not None


def test_where_nothing_may_be_left_out_errors_pass():
    with pytest.raises(ZeroDivisionError):
        NOTHING.attempt("a map", broken)
    assert NOTHING.reasons == {}
